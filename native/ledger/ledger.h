// The ledger: what this node's engines have done and not undone. A SQLite file (WAL) that several
// processes share; docs/ledger.md describes it.
#ifndef DVDI_LEDGER_LEDGER_H_
#define DVDI_LEDGER_LEDGER_H_

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "ledger/checked.h"
#include "ledger/commits.h"
#include "ledger/db.h"
#include "ledger/reserve.h"
#include "ledger/rows.h"
#include "sys/boot.h"
#include "sys/env.h"

namespace dvdi {

// The verbs of one transaction. Valid inside the function that it was given to.
class LedgerTx {
 public:
  explicit LedgerTx(Db* db) : db_(db) {}
  struct TallyRow {
    std::string first, second;
    int64_t count = 0;
  };

  // --- attachments
  Status PutAttachment(const AttachmentRow& row);  // inserts or replaces
  Status DeleteAttachment(const std::string& id);
  // Of a row that is there PutAttachment leaves it: whoever is at it may not know of those.
  Status SetAlso(const std::string& id, const std::string& also);
  // Whether an attachment has that ID among those of which an Unmount is owed too.
  Result<bool> IsOwedToo(const std::string& id);
  Result<std::optional<AttachmentRow>> FindAttachment(const std::string& driver, const std::string& name);
  Result<std::optional<AttachmentRow>> GetAttachment(const std::string& id);
  Result<std::vector<AttachmentRow>> Attachments();
  // One of another driver than that, of that boot, whose mountpoint is the path, lies below it or above it.
  Result<std::optional<AttachmentRow>> OtherDriversAt(const std::string& path, const std::string& driver,
                                                      const Boot& boot);
  // Those in state releasing, soonest first, at most `limit`.
  Result<std::vector<AttachmentRow>> Releasing(int limit);
  // Users whose operation was begun in this boot (users of an earlier boot are gone with it).
  Result<std::vector<UserRow>> Users(const std::string& attachment, const Boot& boot);

  // --- operations and effects
  // The owner and scope of a new one may be another one's: both were begun in ledgers that knew nothing of
  // each other. Neither loses its effects, so that no volume seems to have no user: the one that is undone,
  // or else the new one, is kept as "OWNER/SCOPE (ID)" of kByHand.
  Status PutOperation(const OperationRow& row);
  // Takes an operation over: state and instance are set where both are still what the caller saw. False
  // where another engine was quicker.
  Result<bool> ClaimOperation(const OperationRow& seen, const char* state, const std::string& instance);
  Status DeleteOperation(const std::string& id);  // and the effects it still has
  Result<std::optional<OperationRow>> FindOperation(const std::string& owner, const std::string& scope);
  Result<std::optional<OperationRow>> GetOperation(const std::string& id);
  Result<std::vector<OperationRow>> Operations();            // all, oldest first
  Result<std::vector<OperationRow>> UnfinishedOperations();  // running or undoing
  Status PutEffect(const EffectRow& row);
  // Where it is still that one: another may have been passed on to its place.
  Status DeleteEffect(const EffectRow& row);
  Result<std::vector<EffectRow>> Effects(const std::string& operation);      // in order of seq
  Result<std::vector<std::string>> StagesOf(const std::string& attachment);  // their paths
  Result<std::vector<std::string>> StagePaths();                             // of all operations
  // Another operation that has a target at or below the path, or a folder below it to remove, or "".
  Result<std::string> OtherUserOfFolder(const std::string& path, const std::string& operation);
  // Gives the effect to another operation, as its last.
  Status PassEffect(const std::string& operation, int64_t seq, const std::string& to);

  // --- volumes
  // Merges: created_by_us stays, times grow, a use is never before the creation.
  Status TouchVolume(const VolumeRow& row);
  // Where it is in that state; "" for any.
  Status DeleteVolume(const std::string& driver, const std::string& name, const char* state);
  Status SetVolumeState(const std::string& driver, const std::string& name, const char* state);
  Result<std::optional<VolumeRow>> GetVolume(const std::string& driver, const std::string& name);
  Result<std::vector<VolumeRow>> Volumes(const std::string& name);  // "" for all

  // --- records
  // Older ones go: at least the newest `keep` stay, and at most a hundredth more.
  Status PutRecord(const RecordRow& row, const std::vector<std::pair<std::string, std::string>>& volumes,
                   int64_t keep);
  // Empty strings match all.
  Result<std::vector<RecordRow>> Records(const std::string& operation, const std::string& scope,
                                         const std::string& driver, const std::string& name, int limit,
                                         const RecordOrder& order = {});

  // --- verdicts (verdicts.cc)
  Status PutVerdict(const VerdictRow& row);  // the oldest go where there are very many
  // How many there are of each outcome, of a policy since then.
  Result<std::vector<TallyRow>> VerdictTally(const std::string& sha256, const char* kind, int64_t since_ms);
  // Whether there are so many since then. Takes the same time however many there are, until they nearly are.
  Result<bool> HasVerdicts(const std::string& sha256, const char* kind, int64_t since_ms, int64_t at_least);
  // How many workloads they are of.
  Result<int64_t> VerdictWorkloads(const std::string& sha256, const char* kind, int64_t since_ms);
  // Those that are not "same", newest first.
  Result<std::vector<VerdictRow>> Verdicts(const std::string& sha256, const char* kind, int64_t since_ms,
                                           int limit);

  // Whether whoever opens the file from now on need not fill it.
  Status SetWhole(bool whole);
  // Whether somebody has said so: until then what it does not know may be there all the same.
  Result<bool> IsWhole();

  // --- counts, for status
  Result<int64_t> Count(const char* sql);                // a literal "SELECT count(*) …"
  Result<std::vector<TallyRow>> Tally(const char* sql);  // a literal "SELECT a, b, count(*) … GROUP BY …"

 private:
  Db* db_;
};

// Thread-safe, save Open and BeginAnew, which are for who opens it, and for `refill`.
class Ledger {
 public:
  using Body = std::function<Status(LedgerTx&)>;

  Ledger(const Env& env, std::string path)
      : env_(env), path_(std::move(path)), checked_(env, path_), reserve_(env_, path_ + ".reserve") {}
  ~Ledger() { Close(); }

  // Opens the file, made where it is missing. A damaged file is renamed to PATH.damaged-N (never
  // removed) and a new one begun. Either is no failure: rebuilt() is true then, and note() says why;
  // the caller fills the ledger from what else it knows, and says so in it (LedgerTx::SetWhole). Until
  // somebody has, rebuilt() is true for everybody who opens it.
  Status Open();
  void Close();
  bool rebuilt() const { return rebuilt_; }
  // While it is open another process may put the file aside, as damaged, and begin a new one; or somebody
  // removes it. SQLite would go on with the file that has no name any more, in which nobody else's users
  // stand. A transaction that finds another file at the path, or damage, waits, and `refill` is called on its
  // thread: it calls Reopen, then fills the ledger where it is rebuilt(), as who opens it does. Its own
  // transactions are let through meanwhile, all others wait. One that failed since it was the first to meet
  // damage is run once more then. Set once, before the first transaction.
  void OnReplaced(std::function<Status()> refill) { refill_ = std::move(refill); }
  // Opens and fills it anew by that, or waits until somebody has who is at it. Not inside a transaction.
  Status Refill();
  // Opens what is at the path now; a file that damage was met in is put aside before. For `refill` alone.
  Status Reopen();
  // What happened to the file, or "". It is kept in PATH.note for those who look later, until that is
  // removed.
  std::string note() const;
  // Puts aside a file that can be read and is wrong all the same, as a damaged one, and begins anew.
  Status BeginAnew(const std::string& why);
  // Keeps a note. Where it cannot be written it is this object's alone.
  void KeepNote(const std::string& note);

  // Runs `body` in a write transaction and commits. `durable`: fsynced when this returns. Transactions
  // that wait at the same time are committed together. A body that fails is rolled back alone. Where the disk
  // is full, a commit that ends something is tried again with the room of the reserve. A body may run more
  // than once, and the last run counts.
  Status Apply(Commit commit, bool durable, const Body& body);
  // Runs `body` on a consistent snapshot; it may run more than once, too.
  Status Read(const Body& body);
  // Room on the disk for what ends something: whole, or made whole now. To be asked before something is
  // begun.
  Status KeepReserve() { return reserve_.Keep(); }
  bool HasReserve() const { return reserve_.Whole(); }
  // Gives that room up, for what else an ending needs.
  void SpendReserve() { (void)reserve_.Spend(); }
  // Whether a damaged file was met since Open.
  bool damaged() const;

 private:
  // What a transaction came to beside its status.
  struct Tried {
    bool put_off = false;     // nothing was tried: the file is not the one any more
    bool met_damage = false;  // it failed on a file that is found to be damaged
  };
  struct Waiting {
    const Body* body;
    Commit commit;
    bool durable, refills;
    bool done = false;
    Tried tried;
    Status status;
  };
  Status MakeFile();
  Status OpenFiles();
  // Renames the file and what belongs to it; `kept` is the name that it has now.
  Status MoveAway(std::string* kept);
  Status PutAside(const std::string& why);
  void CloseFiles();
  // Whether the file at the path is not the one that is open.
  Result<bool> Moved() const;
  // By `refill`'s thread.
  bool Refilling() const { return refiller_.load() == std::this_thread::get_id(); }
  // Whether a transaction by `db` has to be put off. An error where that cannot be told: it must not go on
  // with a file in which the others' users may not stand. With the lock of `db`; throws nothing.
  Status MustWait(const Db& db, bool refills, bool* wait) const;
  // Runs `once` until it is not put off.
  Status OnTheFile(const std::function<Status(Tried*)>& once);
  Status ApplyOnce(Waiting* mine);
  Status ReadOnce(const Body& body, Tried* tried);
  // With the lock of `db`.
  Status TryReadBy(Db* db, const Body& body, Tried* tried);
  bool LogIsSmall() const;
  std::string NotePath() const { return path_ + ".note"; }
  void RunBatch(const std::vector<Waiting*>& batch);
  void RunHeld(const std::vector<Waiting*>& batch);
  void TryBatch(const std::vector<Waiting*>& batch);
  static Status ReadBy(Db* db, const Body& body);

  const Env env_;
  const std::string path_;
  const CheckedMark checked_;
  Reserve reserve_;
  std::atomic<bool> rebuilt_ = false;
  bool is_new_ = false;    // nothing of it is in the file yet
  bool in_place_ = false;  // of its filesystem: MappedWritesInPlace
  mutable std::mutex note_mu_;
  std::string note_;  // by note_mu_

  std::function<Status()> refill_;
  std::atomic<bool> refilling_ = false;  // changed with queue_mu_
  std::atomic<bool> unfilled_ = false;   // the last refill failed: what is open knows too little
  std::atomic<std::thread::id> refiller_;
  std::atomic<bool> wanted_ = false;  // from Open to Close
  dev_t device_ = 0;                  // of the file that is open; changed with both locks below
  ino_t inode_ = 0;

  mutable std::mutex queue_mu_;
  std::condition_variable queue_cv_;
  std::vector<Waiting*> queue_;
  bool leading_ = false;

  std::mutex write_mu_, read_mu_;
  Db writer_, reader_;     // reader_: opened when somebody reads while somebody writes
  bool may_read_ = false;  // it is open; changed with both locks
  bool full_sync_ = false;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_LEDGER_H_
