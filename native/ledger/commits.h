// The kinds of the ledger's commits. Each is a place at which a process may die, and has a name under which
// the crash tests kill it there (docs/testing.md).
#ifndef DVDI_LEDGER_COMMITS_H_
#define DVDI_LEDGER_COMMITS_H_

namespace dvdi {

// X(name, ends): `ends` where something ends with it, or must not be forgotten. Only such a commit may use
// the reserve of a full disk (ledger/reserve.h).
#define DVDI_COMMITS(X)                                                                         \
  X(intent, false)    /* all that an operation may come to do; what is about to be sent */      \
  X(attached, false)  /* what a driver answered to Mount, before something slow */              \
  X(folders, false)   /* folders that are about to be made for targets */                       \
  X(committed, false) /* a prepare is done */                                                   \
  X(recorded, false)  /* the record of an operation that left nothing to undo */                \
  X(created, true)    /* what a prepare that failed has made, or may have made */               \
  X(undoing, true)    /* an operation is taken over to be undone */                             \
  X(folder, true)     /* a folder is about to be removed, or is another operation's now */      \
  X(placed, true)     /* where a volume is mounted whose prepare is undone */                   \
  X(undone, true)     /* what of an operation was undone; what nobody uses is to be released */ \
  X(released, true)   /* an Unmount was answered, or is needless */                             \
  X(postponed, true)  /* an Unmount failed: when it is tried again */                           \
  X(operated, true)   /* what an operator did to a volume */                                    \
  X(forgotten, true)  /* an operator gave up an attachment */                                   \
  X(rebuilt, true)    /* an attachment, as the stage folder tells of it */                      \
  X(whole, true)      /* nothing more is to be brought back from the stage folder */            \
  X(adopted, true)    /* an attachment of an earlier boot whose row was lost */

enum class Commit {
#define X(name, ends) name,
  DVDI_COMMITS(X)
#undef X
};

inline const char* CommitName(Commit commit) {
  constexpr const char* kNames[] = {
#define X(name, ends) #name,
      DVDI_COMMITS(X)
#undef X
  };
  return kNames[static_cast<int>(commit)];
}

inline bool CommitEnds(Commit commit) {
  constexpr bool kEnds[] = {
#define X(name, ends) ends,
      DVDI_COMMITS(X)
#undef X
  };
  return kEnds[static_cast<int>(commit)];
}

// What one commit goes through: nothing of it is done, all is written and not committed, it is committed.
enum class CommitMoment { kBefore, kWritten, kDone };

// Called for each commit that has come that far, on its thread. Does nothing; a program of the crash tests
// has a definition of its own in its place.
void CommitPoint(Commit commit, CommitMoment moment);

}  // namespace dvdi

#endif  // DVDI_LEDGER_COMMITS_H_
