/* What an operation is measured against: one volume prepared and cleaned up with nothing but what cannot be
 * avoided, in plain C. The reference client's plugin calls over one kept connection (Activate once; Get,
 * Mount; Get, Unmount), a bind of the volume's folder with its flags and its unmount, and a small journal
 * file that is fsynced with its folder before the Mount and after the Unmount. It decides nothing, checks
 * little and remembers nothing.
 *
 *   dvdi_reference SOCKET FOLDER VOLUME
 *
 * One operation for each line on standard input; one line on standard output for each:
 *   PREPARE_NS CLEANUP_NS PLUGIN_CALLS MOUNT_CALLS FSYNCS */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int sock = -1, folder = -1, calls, mounts, fsyncs;
static const char *folder_path, *volume;
static char body[65536];

static void die(const char* what) {
  fprintf(stderr, "dvdi_reference: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected answer");
  exit(1);
}

static int check(long result, const char* what) {
  if (result < 0) die(what);
  return (int)result;
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void send_all(const char* text, size_t length) {
  while (length > 0) {
    ssize_t n = send(sock, text, length, MSG_NOSIGNAL);
    if (n < 0) die("send");
    text += n;
    length -= (size_t)n;
  }
}

/* One POST; the answer's body is in `body`. An answer with an Err ends the program. */
static void call(const char* path, const char* json, ...) {
  char request[1024], text[1536];
  va_list arguments;
  va_start(arguments, json);
  int length = vsnprintf(request, sizeof request, json, arguments);
  va_end(arguments);
  int total = snprintf(text, sizeof text,
                       "POST %s HTTP/1.1\r\nHost: \r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       path, length, request);
  if (total < 0 || (size_t)total >= sizeof text) die("request");
  send_all(text, (size_t)total);
  ++calls;

  size_t have = 0, need = sizeof body - 1;
  char* end = NULL;
  while (end == NULL || have < need) {
    ssize_t n = recv(sock, body + have, sizeof body - 1 - have, 0);
    errno = n == 0 ? ECONNRESET : errno;
    if (n <= 0) die("receive");
    have += (size_t)n;
    body[have] = '\0';
    if (end != NULL || (end = strstr(body, "\r\n\r\n")) == NULL) continue;
    const char* stated = strcasestr(body, "content-length:");
    if (stated == NULL) die(path);
    need = (size_t)(end + 4 - body) + strtoul(stated + strlen("content-length:"), NULL, 10);
    if (need > sizeof body - 1) die(path);
  }
  errno = 0;
  if (strncmp(body, "HTTP/1.1 200", 12) != 0 || strstr(end, "\"Err\":\"\"") == NULL) die(path);
  memmove(body, end + 4, strlen(end + 4) + 1);
}

/* Appends an entry for the ID to the journal and makes it durable. */
static void journal(const char* id, const char* state) {
  char text[512];
  int length =
      snprintf(text, sizeof text, "{\"id\":\"%s\",\"volume\":\"%s\",\"state\":\"%s\"}\n", id, volume, state);
  int fd =
      check(openat(folder, "journal", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "open the journal");
  if (write(fd, text, (size_t)length) != length) die("write the journal");
  check(fsync(fd), "fsync the journal");
  close(fd);
  check(fsync(folder), "fsync the folder");
  fsyncs += 2;
}

static void prepare(const char* id, const char* stage) {
  call("/VolumeDriver.Get", "{\"Name\":\"%s\"}\n", volume);
  journal(id, "intent");
  call("/VolumeDriver.Mount", "{\"Name\":\"%s\",\"ID\":\"%s\"}\n", volume, id);
  char* mountpoint = strstr(body, "\"Mountpoint\":\"");
  if (mountpoint == NULL) die("Mount");
  mountpoint += strlen("\"Mountpoint\":\"");
  *strchrnul(mountpoint, '"') = '\0';
  check(mkdir(stage, 0700), "make the stage");
  int tree =
      check(syscall(SYS_open_tree, AT_FDCWD, mountpoint, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), "open_tree");
  struct mount_attr flags = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE};
  check(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &flags, sizeof flags), "mount_setattr");
  check(syscall(SYS_move_mount, tree, "", AT_FDCWD, stage, MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
  close(tree);
  mounts += 3;
}

static void cleanup(const char* id, const char* stage) {
  check(umount2(stage, MNT_DETACH | UMOUNT_NOFOLLOW), "unmount the stage");
  ++mounts;
  check(rmdir(stage), "remove the stage");
  call("/VolumeDriver.Get", "{\"Name\":\"%s\"}\n", volume);
  call("/VolumeDriver.Unmount", "{\"Name\":\"%s\",\"ID\":\"%s\"}\n", volume, id);
  journal(id, "released");
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: dvdi_reference SOCKET FOLDER VOLUME\n");
    return 2;
  }
  folder_path = argv[2], volume = argv[3];
  folder = check(open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder_path);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(argv[1]) >= sizeof address.sun_path) die(argv[1]);
  strcpy(address.sun_path, argv[1]);
  sock = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  check(connect(sock, (struct sockaddr*)&address, sizeof address), argv[1]);
  call("/Plugin.Activate", "{}\n");

  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned char random[32];
    char id[65], stage[4096];
    if (getrandom(random, sizeof random, 0) != sizeof random) die("getrandom");
    for (size_t i = 0; i < sizeof random; ++i) snprintf(id + 2 * i, 3, "%02x", random[i]);
    snprintf(stage, sizeof stage, "%s/stage-%.16s", folder_path, id);
    calls = mounts = fsyncs = 0;
    const int64_t t0 = now();
    prepare(id, stage);
    const int64_t t1 = now();
    cleanup(id, stage);
    const int64_t t2 = now();
    printf("%lld %lld %d %d %d\n", (long long)(t1 - t0), (long long)(t2 - t1), calls, mounts, fsyncs);
    fflush(stdout);
  }
  return 0;
}
