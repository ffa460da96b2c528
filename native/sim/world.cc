#include "sim/world.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

namespace dvdi::sim {

uint64_t SimRandom::Next() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void SimRandom::Fill(void* bytes, size_t n) {
  auto p = static_cast<unsigned char*>(bytes);
  for (size_t i = 0; i < n; ++i) p[i] = static_cast<unsigned char>(Next() >> 32);
}

Status SimScheduler::Spawn(std::function<void()> task, const char*, size_t) {
  tasks_.push_back(std::move(task));
  return Status();
}

std::function<void()> SimScheduler::Take() {
  auto task = std::move(tasks_.front());
  tasks_.pop_front();
  return task;
}

void SimScheduler::RunAll() {
  while (!tasks_.empty()) {
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
}

void SimScheduler::Wait(std::unique_lock<std::mutex>& lock, std::condition_variable&, int64_t deadline_ms) {
  lock.unlock();
  if (tasks_.empty()) {
    clock_->AdvanceTo(deadline_ms);
  } else {
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
  lock.lock();
}

Result<HelperReply> SimHelper::Run(const Env&, const HelperRequest&) {
  return Status(Code::kUnsupported, "the simulated world has no helper");
}

World::World(uint64_t seed, std::string f, std::string volumes)
    : random(seed), sys(f), transport(&sys, &clock, &random, std::move(volumes)), folder(std::move(f)) {
  ::mkdir((folder + "/specs").c_str(), 0700);
}

Env World::env() {
  Env e;
  e.sys = &sys, e.transport = &transport, e.clock = &clock, e.random = &random, e.scheduler = &scheduler;
  e.store = Store::Real();
  e.helper = &helper;
  return e;
}

void World::AddPlugin(const std::string& name) {
  transport.plugins[name].device = static_cast<int>(transport.plugins.size()) * 1000;
  std::ofstream(folder + "/specs/" + name + ".spec") << "unix:///sim/" << name << ".sock\n";
}

}  // namespace dvdi::sim
