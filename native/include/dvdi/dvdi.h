/* The engine's C ABI. Text in and out is JSON in UTF-8; its members are described at each function.
 *
 * Threads: every function may be called from any thread. Callbacks run on a thread of the engine, or, where a
 * request is refused at once, on the caller's before the function returns: hold no lock that they want. They
 * may call any function but dvdi_close.
 * Ownership: what is passed in is copied; a `char*` given out is freed with dvdi_free; the text
 * passed to a callback is valid until the callback returns.
 * Errors: a function returns one of dvdi_code, and (or its callback gets) {"error": {"code",
 * "message", "hint", "volume", "driver", "path"}}: one line each, empty members left out. Where the engine or
 * the callback is null it is DVDI_INVALID alone: no callback is called, no text given out.
 * The library installs no signal handlers, throws nothing and never calls exit.
 */
#ifndef DVDI_DVDI_H_
#define DVDI_DVDI_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DVDI_API __attribute__((visibility("default")))

typedef enum dvdi_code {
  DVDI_OK = 0,
  DVDI_INVALID = 1,     /* input that is wrong: statement, option, request, settings */
  DVDI_REFUSED = 2,     /* not allowed now: in use, policy, settings */
  DVDI_NOT_FOUND = 3,   /* no such volume, driver, scope, operation */
  DVDI_UNAVAILABLE = 4, /* a driver cannot be reached */
  DVDI_DRIVER = 5,      /* a driver answered with an error of its own */
  DVDI_POLICY = 6,      /* the policy blob trapped, hit a limit or answered nonsense */
  DVDI_SYSTEM = 7,      /* a system call failed */
  DVDI_TIMEOUT = 8,     /* a deadline passed */
  DVDI_UNSUPPORTED = 9, /* this kernel, filesystem or build cannot do it */
  DVDI_INTERNAL = 10    /* a bug of ours */
} dvdi_code;

typedef struct dvdi_engine dvdi_engine;
typedef void (*dvdi_done)(void* user, dvdi_code code, const char* json, size_t length);

/* "1.0.0 (abi 1)"; never null, static. */
DVDI_API const char* dvdi_version(void);
/* "ok", "invalid", "refused", "not-found", …; static. Of any number: a later version may have more codes. */
DVDI_API const char* dvdi_code_name(int code);
/* Frees text given out by this library; null is allowed. */
DVDI_API void dvdi_free(char* text);

/* Opens an engine on this node's state folder. `options`: {"config": path of a YAML settings file
 * (default /etc/dvdi/config.yaml, absent is fine), "settings": {…} which override the file's members
 * (docs/settings.md), "keeper": false for no thread that retries by itself (default true; what waits for
 * others, or for its driver, goes on at its time and ends at its deadline all the same), "classic_mounts":
 * true for mount(2) where newer calls would be used (default false; for kernels whose newer calls are
 * broken)}. On success *out is the engine; on failure (settings, the state folder, no thread to be had) it is
 * null and *error, where error is not null, says why. A damaged ledger is no failure: it is put aside and
 * rebuilt. May read and write files; never touches a plugin or a plugin's mountpoint. */
DVDI_API dvdi_code dvdi_open(const char* options, dvdi_engine** out, char** error);

/* Gives a workload its volumes: all of them or none.
 * `request`: {
 *   "owner": "run" | "dvdcli" | "manual" | "oci" | "mesos:…",
 *   "scope": unique name of this user of volumes (a container id, a UUID),
 *   "process": {"pid": n} where the scope lives as long as a process is in that one's mount namespace,
 *   "user": {"uid": n, "gid": n} or {"name": "…"} for ownership modes,
 *   "default_driver": name for volumes that name none (else the policy's),
 *   "sources": [{"form": "volume"|"mount"|"statement"|"marathon"|"mesos", "text": "…"},
 *               {"form": "env", "env": {"DVDI_VOLUME_NAME": "…"}}],
 *              each with an "origin"?: the file that it was read from, which errors name,
 *   "target_base": {"relative": folder, "absolute": folder}: where container paths lie on this node,
 *              relative ones beneath the first and absolute ones beneath the second (without it: as they
 *              are). A workload's own folders, without a symlink; targets in them are checked for symlinks
 *              alone,
 *   "targets": "make" (missing target folders are made, and removed at cleanup) | "check" | "ignore"
 *              (without it),
 *   "covers": a path: refused, before anything is done, where no volume is to be at or above it,
 *   "deadline_ms": n from now (0: the settings'; here and below any number will do, also INT64_MAX),
 *   "goal": "create" where the volumes are only to exist: nothing is attached, and no scope is begun,
 *   "dry_run": true: the whole decision, without acting on it. Drivers are asked (Get, List, …) and told
 *              nothing; nothing is made, recorded or attached
 * }
 * Answer: {"operation", "scope", "volumes": [{"driver", "name", "id", "stage": folder to bind at
 * "target" (on this node), "mode": "rw"|"ro", "what": "created"|"re-attached"|"shared", "last_used": ms or
 * null, "message"}], "hide": [mountpoints of volumes that are not this scope's: to be unmounted in a new
 * mount namespace before anything is bound there], "hide_last": the folder of all stages, likewise once all
 * is bound (with a "process" alone), "notes": [text], "policy": {"name","version","sha256"}, "stored"?: true
 * where the scope was begun by an earlier, equal request, whose answer this is: nothing was done now, and
 * what fails behind it is no reason to end the scope}. No declared volume is no error: "volumes" is empty.
 * With a goal of "create": {"operation", "volumes": [{"driver", "name", "what": "created"|"existed",
 * "message"}], "notes"}. With "dry_run": {"dry_run": true, "volumes": [VolumeRequest (docs/abi.md) +
 * {"state", "users", "message"}], "calls": [{"call": "Create"|"Mount"|"stage", "driver", "name", …}]: what
 * would be done, in order, "notes", "error"?: why it would fail}.
 * Returns DVDI_OK where the callback is called, exactly once, also with what is wrong with the request. */
DVDI_API dvdi_code dvdi_prepare(dvdi_engine* engine, const char* request, dvdi_done done, void* user);

/* Ends a scope: its stages are unmounted, its folders removed, volumes without another user released.
 * `request`: {"owner", "scope", "deadline_ms", "release_ms", "volumes": [{"driver","name"}]}. An unknown
 * scope is no error; a prepare of it that has not been answered yet is not ended: wait for its answer first.
 * Answers as soon as our own mounts are gone: {"released": [{"driver","name"}],
 * "pending": [{"driver","name","why"}]}; what is pending is retried until done (promise 6), by this engine
 * or the next one. Volumes that another operation holds are waited for 200 ms, and another cleanup of the
 * scope 2 s, or both "held_ms": longer where the engine is closed behind it, so that nobody of this process
 * looks again. With a "release_ms" all of it takes so long, the releases of its volumes, and of those in
 * "volumes" that nobody uses, included: what is pending then has failed, and "why" says how. */
DVDI_API dvdi_code dvdi_cleanup(dvdi_engine* engine, const char* request, dvdi_done done, void* user);

/* Brings ledger and reality together for one owner: `request`: {"owner", "live": [scope, …] (those the
 * caller knows to be alive at this call: what is prepared behind it lives without being named; without the
 * list `run` scopes are alive while a process is in their mount namespace, others until they are cleaned up),
 * "wait_ms": how long to wait for pending releases, "original": the original Mesos module's dvdimounts.pb,
 * whose mounts become this owner's, those of scopes in "live" wherever they are, of others where they are
 * still in mountinfo; it is read once, and the list is then of that moment}.
 * Undoes what dead instances left unfinished. Answer: {"taken": [text], "undone": [operation], "ended":
 * [scope], "released": […], "pending": […], "reported": [what is not ours and was not touched], "notes":
 * [what the policy has to say of what is pending]}. */
DVDI_API dvdi_code dvdi_recover(dvdi_engine* engine, const char* request, dvdi_done done, void* user);

/* An operator's removal of a volume: `request`: {"driver", "name", "deadline_ms", "unused_only": true for
 * one that is recorded as created and unused (prune), "global": true where it may be of a driver that all
 * nodes share}. Refused while anything uses it. Answer: {"removed": {"driver", "name"}, "existed": false
 * where its driver did not have it any more}. */
DVDI_API dvdi_code dvdi_remove(dvdi_engine* engine, const char* request, dvdi_done done, void* user);

/* An operator takes a volume away from another node, where its driver can (dvdi-driver). `request`:
 * {"driver", "name", "deadline_ms", "node_is_dead": true where the operator vouches for it; otherwise the
 * driver waits until the other node's lease has ended}. Answer: {"fenced": {"driver", "name"},
 * "generation", "waited_ms", "from": node}. */
DVDI_API dvdi_code dvdi_fence(dvdi_engine* engine, const char* request, dvdi_done done, void* user);

/* What the ledger knows. `query`: {"what": "summary" | "volumes" ("driver" and "name" optional) |
 * "volume" ("driver" optional, "name", "ask_plugin": bool, "timeout_ms") | "scopes" |
 * "drivers" ("ask": false to call none) | "listed" ("driver", "timeout_ms") | "pools" ("driver"
 * optional) | "doctor" | "metrics"}. Plugins are asked by "drivers", "listed", "pools" and "doctor", and by
 * "volume" where it says so. "summary" also tells how much room the filesystem of the state folder
 * has. Answers in docs/cli.md. */
DVDI_API dvdi_code dvdi_status(dvdi_engine* engine, const char* query, char** answer);

/* The same for who must not wait: the answer goes to the callback. Also for "usage" ("owner" optional,
 * "timeout_ms"), which asks the filesystems of attached volumes, in helper processes that may hang.
 * Returns DVDI_OK where the callback is called, exactly once. */
DVDI_API dvdi_code dvdi_ask(dvdi_engine* engine, const char* query, dvdi_done done, void* user);

/* Why: records of operations. `query`: {"operation" | "scope" | "name" (and "driver"), "since_ms": those that
 * began then or later (Unix time), "last": n (default 1, at most 1,000), "skip": n (of the first), "after": a
 * "seq" (those behind it, oldest first; else newest first), "head": bool}. Answer: {"operations": [{"seq",
 * "operation", "kind", …}: docs/cli.md], "head"?: {"dvdi": "records", "version": 1, "node", "settings"}}
 * (docs/replay.md). */
DVDI_API dvdi_code dvdi_explain(dvdi_engine* engine, const char* query, char** answer);

/* The operator's last word on an attachment that cannot be released: it leaves the ledger, nothing is
 * called. `request`: {"driver", "name"} ; refused while a live scope uses it. */
DVDI_API dvdi_code dvdi_forget(dvdi_engine* engine, const char* request, char** answer);

/* What operators do to policies (docs/policies.md, "On a node"). `request`: {"verb", …}:
 *   "install":  {"path": blob, "signature": file (default: PATH.minisig where there is one),
 *               "sha256": what it must be, "allow_downgrade", "allow_differences",
 *               "inactive": true to keep it only}
 *   "activate": {"policy", "allow_downgrade", "allow_differences"}
 *   "rollback": {"bar": bool, "why"}
 *   "shadow":   {"policy" | "path", "for_ms", "operations"} | {"stop": true} | {} to see it
 *   "ls": {}   "history": {}   "inspect": {"policy" | "path"} | {} for the active one
 *   "bar": {"policy", "why"}   "unbar": {"policy"}
 * "policy" is a SHA-256 or its beginning, NAME, VERSION, NAME@VERSION or "built-in". Answers in docs/cli.md.
 * May take as long as a compilation and a canary; needs a thread with the stack of a main thread. */
DVDI_API dvdi_code dvdi_policy(dvdi_engine* engine, const char* request, char** answer);

/* Waits for running operations, and at most `wait_ms` for pending releases (what is left stays in the
 * ledger for the next engine), then frees the engine. Where a policy was compiled for the first time, it
 * waits for that, too: some tenths of a second. Null is allowed. Not from a callback. */
DVDI_API void dvdi_close(dvdi_engine* engine, int wait_ms);

#ifdef __cplusplus
}
#endif

#endif /* DVDI_DVDI_H_ */
