// One lock for each volume that somebody works on.
#ifndef DVDI_DRIVER_VOLUME_LOCKS_H_
#define DVDI_DRIVER_VOLUME_LOCKS_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace dvdi {

// Thread-safe. Must outlive its Holds.
class VolumeLocks {
 public:
  // Has the lock of one volume while it lives; waits for it first. Locks that nobody holds are forgotten.
  class Hold {
   public:
    Hold(VolumeLocks* locks, const std::string& name) : locks_(locks), name_(name) {
      {
        std::lock_guard<std::mutex> guard(locks->mu_);
        auto& slot = locks->slots_[name];
        mutex_ = slot.lock();
        if (mutex_ == nullptr) slot = mutex_ = std::make_shared<std::mutex>();
      }
      mutex_->lock();
    }
    ~Hold() {
      mutex_->unlock();
      std::lock_guard<std::mutex> guard(locks_->mu_);
      mutex_.reset();
      auto it = locks_->slots_.find(name_);
      if (it != locks_->slots_.end() && it->second.expired()) locks_->slots_.erase(it);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    VolumeLocks* const locks_;
    const std::string name_;
    std::shared_ptr<std::mutex> mutex_;
  };

 private:
  std::mutex mu_;
  std::map<std::string, std::weak_ptr<std::mutex>> slots_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_VOLUME_LOCKS_H_
