#include "plugin/connection_pool.h"

#include <utility>

namespace dvdi {

void ConnectionPool::CloseExpired(int64_t now_ms, std::vector<UniqueFd>* closing) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    if (now_ms - it->second.since_ms < idle_ms_) {
      ++it;
      continue;
    }
    closing->push_back(std::move(it->second.connection.fd));
    it = idle_.erase(it);
  }
}

bool ConnectionPool::Begin(const std::string& key, const SocketIdentity& now_there, int64_t now_ms,
                           PooledConnection* out) {
  std::vector<UniqueFd> closing;  // closed outside of the lock
  PooledConnection found;
  {
    std::lock_guard<std::mutex> lock(mu_);
    ++under_way_[key];
    CloseExpired(now_ms, &closing);
    auto it = idle_.find(key);
    if (it == idle_.end()) return false;
    found = std::move(it->second.connection);
    idle_.erase(it);
  }
  if (found.identity != now_there || !StillIdle(found.fd.get())) return false;
  *out = std::move(found);
  return true;
}

void ConnectionPool::End(const std::string& key, PooledConnection connection, int64_t now_ms) {
  std::vector<UniqueFd> closing;
  std::lock_guard<std::mutex> lock(mu_);
  auto it = under_way_.find(key);
  bool last = it != under_way_.end() && --it->second == 0;
  if (last) under_way_.erase(it);
  CloseExpired(now_ms, &closing);
  if (!connection.fd.valid() || !last || idle_.size() >= max_idle_ || idle_.count(key) > 0) {
    closing.push_back(std::move(connection.fd));
    return;
  }
  idle_[key] = {std::move(connection), now_ms};
}

void ConnectionPool::CloseAll() {
  std::map<std::string, Idle> closing;
  std::lock_guard<std::mutex> lock(mu_);
  closing.swap(idle_);
}

}  // namespace dvdi
