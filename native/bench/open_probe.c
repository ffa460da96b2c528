/* What it costs a fresh process to load the library, to open an engine and to have a first decision.
 *
 *   dvdi_open_probe LIBRARY OPTIONS REQUEST       dvdi_open's options, dvdi_prepare's request (a dry run)
 *
 * Prints: LOAD_NS OPEN_NS FIRST_NS ANON_LOADED ANON_OPEN ANON_FIRST RSS_LOADED RSS_OPEN RSS_FIRST   (sizes in
 * KiB) */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dvdi/dvdi.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static int has_answer, code;

static void done(void* user, dvdi_code c, const char* json, size_t length) {
  (void)user;
  pthread_mutex_lock(&mutex);
  has_answer = 1, code = (int)c;
  if (c != DVDI_OK) fprintf(stderr, "dvdi_open_probe: %.*s\n", (int)length, json);
  pthread_cond_signal(&answered);
  pthread_mutex_unlock(&mutex);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long memory(const char* name) {
  char line[256];
  long kib = -1;
  FILE* f = fopen("/proc/self/status", "re");
  if (f == NULL) return -1;
  while (kib < 0 && fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, name, strlen(name)) == 0) kib = atol(line + strlen(name));
  fclose(f);
  return kib;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: dvdi_open_probe LIBRARY OPTIONS REQUEST\n");
    return 2;
  }
  const int64_t t0 = now();
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  const int64_t t1 = now();
  if (library == NULL) {
    fprintf(stderr, "dvdi_open_probe: %s\n", dlerror());
    return 1;
  }
  dvdi_code (*open)(const char*, dvdi_engine**, char**) = NULL;
  dvdi_code (*prepare)(dvdi_engine*, const char*, dvdi_done, void*) = NULL;
  void (*close)(dvdi_engine*, int) = NULL;
  *(void**)&open = dlsym(library, "dvdi_open");
  *(void**)&prepare = dlsym(library, "dvdi_prepare");
  *(void**)&close = dlsym(library, "dvdi_close");
  if (open == NULL || prepare == NULL || close == NULL) {
    fprintf(stderr, "dvdi_open_probe: %s has not what dvdi.h says\n", argv[1]);
    return 1;
  }
  const long anon0 = memory("RssAnon:"), rss0 = memory("VmRSS:");
  dvdi_engine* engine = NULL;
  char* error = NULL;
  const int64_t t2 = now();
  const dvdi_code opened = open(argv[2], &engine, &error);
  const int64_t t3 = now();
  if (opened != DVDI_OK) {
    fprintf(stderr, "dvdi_open_probe: %s\n", error != NULL ? error : "cannot open");
    return 1;
  }
  const long anon1 = memory("RssAnon:"), rss1 = memory("VmRSS:");
  const int64_t t4 = now();
  if (prepare(engine, argv[3], done, NULL) != DVDI_OK) return 1;
  pthread_mutex_lock(&mutex);
  while (!has_answer) pthread_cond_wait(&answered, &mutex);
  pthread_mutex_unlock(&mutex);
  const int64_t t5 = now();
  const long anon2 = memory("RssAnon:"), rss2 = memory("VmRSS:");
  close(engine, 0);
  printf("%lld %lld %lld %ld %ld %ld %ld %ld %ld\n", (long long)(t1 - t0), (long long)(t3 - t2),
         (long long)(t5 - t4), anon0, anon1, anon2, rss0, rss1, rss2);
  return code == DVDI_OK ? 0 : 1;
}
