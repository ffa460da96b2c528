// System calls that fail, on the real kernel: each call of a workload's beginning and end with each errno,
// and a process that has no descriptors left. Whatever is answered says what failed; who has a volume keeps
// it; nothing is left.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "engine/testing/mount_engine.h"

namespace dvdi {
namespace {

class ErrnoTest : public EngineMountTest, public ::testing::WithParamInterface<bool> {
 protected:
  static void ExpectClear(const Json& answer, const std::string& when) {
    if (answer.contains("ok")) return;
    const std::string message = answer["error"]["message"];
    EXPECT_NE(message, "") << when;
    EXPECT_EQ(message.find('\n'), std::string::npos) << when << ": " << message;
    EXPECT_NE(message.find('/'), std::string::npos) << when << ": it does not say where: " << message;
  }
  // As it was before: the keeper's volume is there, and nothing else.
  void ExpectAsBefore(Engine& engine, const std::string& stage, const std::string& when) {
    EXPECT_TRUE(Eventually([&] {
      engine.Tick();
      Call(engine, &Engine::Recover, {{"owner", "run"}, {"live", {"keeper"}}, {"wait_ms", 500}});
      return plugins_->mounted() == 1;
    })) << when;
    EXPECT_TRUE(IsMounted(stage)) << when << ": a workload uses it";
    size_t below = 0;
    for (const auto& m : Mounts()) below += m.mountpoint.starts_with(Path("state/stage") + "/");
    EXPECT_EQ(below, 1u) << when;
    EXPECT_FALSE(std::filesystem::exists(Path("targets/one"))) << when;
    auto scopes = engine.StatusOf({{"what", "scopes"}});
    ASSERT_TRUE(scopes.ok()) << when << ": " << scopes.status().message();
    EXPECT_EQ((*scopes)["scopes"].size(), 1u) << when << *scopes;
    EXPECT_EQ(plugins_->violations(), std::vector<std::string>()) << when;
  }
  // The stage of a workload that stays.
  std::string Keeper(Engine& engine) {
    Json kept = Call(engine, &Engine::Prepare, Request("keeper", {"keep"}));
    EXPECT_TRUE(kept.contains("ok")) << kept;
    return kept["ok"]["volumes"][0]["stage"];
  }
};

INSTANTIATE_TEST_SUITE_P(Calls, ErrnoTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Classic" : "Descriptor"; });

TEST_P(ErrnoTest, EachMountCallWithEachErrno) {
  constexpr int kErrors[] = {EPERM, EACCES, EINVAL, ENOENT, ENOTDIR, EBUSY,  ENOMEM, ENOSPC,
                             EROFS, ELOOP,  EIO,    ENODEV, EMFILE,  ENFILE, ESTALE};
  const std::vector<std::string> calls =
      GetParam() ? std::vector<std::string>{"Mount", "Umount"}
                 : std::vector<std::string>{"OpenTree", "MountSetattr", "MoveMount", "Umount"};
  FaultySys sys;
  auto engine = Open(&sys, false, GetParam());
  const std::string stage = Keeper(*engine);
  auto live = [&](const std::string& when) {
    Json prepared = Call(*engine, &Engine::Prepare, Request("one", {"a", "ro"}, {{"targets", "make"}}));
    ExpectClear(prepared, when);
    Json ended = Cleanup(*engine, "one");
    EXPECT_TRUE(ended.contains("ok")) << when << ended << ": what cannot be done now is pending";
    return prepared.contains("ok");
  };
  sys.Arm("", 0, 0);
  ASSERT_TRUE(live("without a fault"));
  std::map<std::string, int> passed;
  for (const auto& name : sys.called) ++passed[name];
  int combinations = 0, failed = 0;
  for (const auto& call : calls) {
    ASSERT_GT(passed[call], 0) << call;
    for (int nth = 1; nth <= passed[call]; ++nth) {
      for (int error : kErrors) {
        const std::string when = call + " " + std::to_string(nth) + " " + std::strerror(error);
        sys.Arm(call, nth, error);
        failed += live(when) ? 0 : 1;
        EXPECT_TRUE(sys.fired) << when;
        sys.Arm("", 0, 0);
        ExpectAsBefore(*engine, stage, when);
        if (HasFailure()) return;
        ++combinations;
      }
    }
  }
  EXPECT_GE(combinations, 60);
  EXPECT_GE(failed, 30) << "most of them end the prepare";
  RecordProperty("combinations", combinations);
  engine->Close(1000);
}

// The process may open `free` descriptors and no more, for every number with which a prepare fails.
TEST_P(ErrnoTest, OutOfDescriptors) {
  auto engine = Open(Sys::Real(), false, GetParam());
  const std::string stage = Keeper(*engine);
  struct rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Descriptors in use have numbers below this one, or the search for free ones would be long.
  struct rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  int free = 0, works = 0;
  for (; free < 100 && works < 3; ++free) {
    const std::string when = std::to_string(free) + " descriptors free";
    std::vector<UniqueFd> taken;
    for (;;) {
      UniqueFd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!one.valid()) break;
      taken.push_back(std::move(one));
    }
    ASSERT_EQ(errno, EMFILE);
    ASSERT_GT(taken.size(), static_cast<size_t>(free));
    taken.resize(taken.size() - static_cast<size_t>(free));
    Json prepared = Call(*engine, &Engine::Prepare, Request("one", {"a", "ro"}, {{"targets", "make"}}));
    Json ended = Cleanup(*engine, "one");
    taken.clear();
    works = prepared.contains("ok") ? works + 1 : 0;
    if (prepared.contains("error")) {
      EXPECT_NE(Dump(prepared).find("Too many open files"), std::string::npos) << when << prepared;
      EXPECT_NE(Dump(prepared).find("raise the limit of open files"), std::string::npos) << when << prepared;
    }
    if (ended.contains("error"))
      EXPECT_NE(Dump(ended).find("Too many open files"), std::string::npos) << when << ended;
    Cleanup(*engine, "one");  // asked again, as whoever got an error does
    ExpectAsBefore(*engine, stage, when);
    if (HasFailure()) break;
  }
  EXPECT_EQ(works, 3) << "it never worked";
  EXPECT_GE(free - works, 2) << "nothing was tried";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  engine->Close(1000);
}

}  // namespace
}  // namespace dvdi
