// What an answer to Unmount is worth, and what the node sees for itself (promises 1 and 6).
#include <filesystem>

#include "engine/testing/release.h"

namespace dvdi {
namespace {

TEST_F(ReleaseTest, ANoToUnmountIsBelievedOnlyWhereTheVolumeIsNotMounted) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  AnswerUnmount(Says("{\"Err\":\"volume is not mounted\"}", 500));
  Cleanup("one");
  EXPECT_EQ(Pending().size(), 1u) << "it is mounted still";
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

// Many drivers name no mountpoint in Get, whether anything is mounted or not.
TEST_F(ReleaseTest, AnUnmountWithoutAnAnswerIsNotBelievedWhileTheNodeSeesTheMount) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string unmount = "lost";
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && unmount == "lost") {
      *reply = PluginReply{};
      reply->outcome = PluginReply::Outcome::kLost;
      reply->sent = true;
      reply->detail = "the connection was closed";
    } else if (method == "Unmount" && unmount == "refused") {
      *reply = Says("{\"Err\":\"no\"}", 500);
    } else if (method == "Get") {
      *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    } else {
      return false;
    }
    return true;
  };
  Cleanup("one");
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "it is mounted";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the connection was closed");
  unmount = "refused";
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "a driver that is busy refuses, and it is mounted";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the node still has it mounted at ");
  // It has done what it was asked: the next refuses, or says so.
  for (const char* then : {"refused", "done"}) {
    unmount = then;
    if (unmount == "refused") world_.transport.ForgetMounts("red", true);  // gone is gone
    Settle();
    EXPECT_EQ(Pending(), Json::array());
    EXPECT_EQ(Known("red", "a")["state"], unmount == "refused" ? "released-unconfirmed" : "known");
    world_.transport.ForgetMounts("red", true);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    unmount = "lost";
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
  }
  // Whose mount is gone is gone.
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

// Sockets were exchanged, or the driver has forgotten what it has mounted: whether it says yes or no to the
// Unmount, only the one that made the mount can end it.
TEST_F(ReleaseTest, AMountThatTheDriverAtItsSocketDoesNotKnowStaysInTheLedger) {
  for (const bool yes : {true, false}) {
    SCOPED_TRACE(yes);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
      *reply = Says("{\"Err\":\"no such volume\"}", 500);
      if (method == "List") *reply = Says("{\"Volumes\":[],\"Err\":\"\"}");
      if (method == "Unmount" && yes) *reply = Says("{\"Err\":\"\"}");
      return method == "Unmount" || method == "Get" || method == "List";
    };
    Cleanup("one");
    Settle();
    ASSERT_EQ(Pending().size(), 1u) << "the node has it mounted";
    EXPECT_HAS(GetString(Pending()[0], "error"), "another driver may have taken the place");
    transport_.hook = nullptr;
    Settle();
    EXPECT_EQ(Pending(), Json::array());
    EXPECT_EQ(Known("red", "a")["state"], "known");
    ExpectNothingLeft();
  }
  // A driver that knows the volume may have it mounted for others.
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  AnswerUnmount(Says("{\"Err\":\"\"}"));
  Cleanup("one");
  Settle();
  EXPECT_EQ(Pending(), Json::array());
}

// The same where its mountinfo could not be read behind the Mount: what the driver answered is known all the
// same.
TEST_F(ReleaseTest, AVolumeThatNobodyCouldLookForIsNotLetGoEither) {
  ASSERT_TRUE(Prepare("zero", {Volume("red", "a")}).contains("ok"));
  Cleanup("zero");
  Settle();
  bool busy = true, blind = false;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && busy) *reply = Says("{\"Err\":\"the device is busy\"}", 500);
    if (method == "Get") *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    blind |= method == "Mount";
    return method == "Get" || (method == "Unmount" && busy);
  };
  world_.sys.look_fault = [&](const char* call) {
    return std::string_view(call) == "mountinfo" && std::exchange(blind, false) ? ENOMEM : 0;
  };
  EXPECT_HAS(Dump(Prepare("one", {Volume("red", "a")})), "cannot read /proc/self/mountinfo");
  world_.sys.look_fault = nullptr;
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "its driver has it still";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the node still has it mounted at ");
  busy = false;
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  ExpectNothingLeft();
}

// What a prepare that fails knew of the place is known when the Unmount is refused.
TEST_F(ReleaseTest, AFailedPreparesBusyVolumeIsNotLetGoWhileTheNodeSeesTheMount) {
  ASSERT_TRUE(Prepare("zero", {Volume("red", "a")}).contains("ok"));
  Cleanup("zero");
  Settle();
  bool busy = true;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && busy) *reply = Says("{\"Err\":\"the device is busy\"}", 500);
    if (method == "Get") *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    return method == "Get" || (method == "Unmount" && busy);
  };
  world_.sys.fault = [](const char* call) { return std::string_view(call) == "open_tree" ? EIO : 0; };
  Json failed = Prepare("one", {Volume("red", "a")});
  EXPECT_HAS(Dump(failed), "cannot copy the mount");
  world_.sys.fault = nullptr;
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "its driver has it still";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the node still has it mounted at ");
  busy = false;
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  ExpectNothingLeft();
}

// A driver under load: it has mounted when nobody waits for that any more.
TEST_F(ReleaseTest, WhereNobodyKnowsTheMountAnUnmountWithoutAnAnswerIsSentAgain) {
  bool slow = true;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if ((method == "Mount" || method == "Unmount") && slow) {
      *reply = PluginReply{};
      reply->outcome = PluginReply::Outcome::kTimeout;
      reply->sent = true;
      return true;
    }
    if (method != "Get") return false;
    *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    return true;
  };
  EXPECT_FALSE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "its Mount may be under way still";
  slow = false;
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_HAS(transport_.requests.back().path, "Unmount");
  ExpectNothingLeft();
}

// As rclone does it: Get names a mountpoint whatever is the case, and an Unmount of what is not mounted is an
// error.
TEST_F(ReleaseTest, ADriversOwnWordThatNothingIsMountedCountsWhereTheNodeSaysTheSame) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  const std::string mountpoint = world_.transport.plugins["red"].volumes["a"].mountpoint;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"Volume is NOT MOUNTED\"}", 500);
    if (method == "Get")
      *reply = Says(Dump({{"Volume", {{"Name", "a"}, {"Mountpoint", mountpoint}}}, {"Err", ""}}));
    return method == "Unmount" || method == "Get";
  };
  Cleanup("one");
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "the node has a mount there";
  std::string why = GetString(Pending()[0], "error");
  EXPECT_HAS(why, "Volume is NOT MOUNTED");
  EXPECT_HAS(why, mountpoint + " is mounted");
  EXPECT_HAS(why, "`dvdi forget red/a`");
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

TEST_F(ReleaseTest, AfterARebootTheDriverIsAskedFirst) {
  for (bool mounted : {true, false}) {
    std::string name = mounted ? "kept" : "gone";
    ASSERT_TRUE(Prepare("one", {Volume("red", name)}).contains("ok"));
    std::string id = IdOf("red", name);
    Close();
    world_.sys.Reboot();
    world_.transport.ForgetMounts("red", true);
    // A driver may hold an attachment elsewhere (a cloud's disk) that outlives the node's mounts.
    if (mounted) world_.transport.plugins["red"].volumes[name].mountpoint = root_ + "/volumes/red-" + name;
    int unmounts = Count("red Unmount");
    Recover({{"wait_ms", 1000}});
    Settle();
    EXPECT_EQ(Count("red Unmount"), unmounts + (mounted ? 1 : 0));
    if (mounted) EXPECT_HAS(transport_.requests.back().body, id);
    EXPECT_EQ(Known("red", name)["state"], mounted ? "known" : "released-unconfirmed");
    ExpectNothingLeft(name);
  }
}

// A Get that fails says nothing of the volume, and so does a list that fails, or shows no mountpoint of it.
TEST_F(ReleaseTest, AfterARebootADriverThatCannotTellIsAskedAgain) {
  const PluginReply no = Says("{\"Err\":\"the backend is away\"}", 500);
  for (const PluginReply& list : {no, Says(R"({"Volumes":[{"Name":"a"}],"Err":""})")}) {
    SCOPED_TRACE(list.body);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    Close();
    world_.sys.Reboot();
    world_.transport.ForgetMounts("red", true);
    world_.transport.plugins["red"].volumes["a"].mountpoint = root_ + "/volumes/red-a";
    transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
      if (method == "Get") *reply = no;
      if (method == "List") *reply = list;
      return method == "Get" || method == "List";
    };
    const int unmounts = Count("red Unmount");
    Recover({{"wait_ms", 1000}});
    Settle();
    EXPECT_EQ(Pending().size(), 1u) << "the driver may have it still";
    EXPECT_EQ(Count("red Unmount"), unmounts);
    transport_.hook = nullptr;
    Settle();
    EXPECT_EQ(Count("red Unmount"), unmounts + 1);
    ExpectNothingLeft();
  }
}

// As where an older copy of the ledger was put in its place: the row says what was so once. Whoever has the
// volume at the driver now need not be this node.
TEST_F(ReleaseTest, WithoutTheFileThatProvesItOursNoUnmountIsSent) {
  for (bool rebooted : {false, true}) {
    SCOPED_TRACE(rebooted);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    const std::string file = settings_.state_dir + "/stage/" + IdOf("red", "a") + "/meta.json";
    world_.transport.plugins["red"].up = false;
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
    if (rebooted) {
      Close();
      world_.sys.Reboot();
    }
    ASSERT_TRUE(std::filesystem::remove(file));
    world_.transport.plugins["red"].up = true;
    const int unmounts = Count("red Unmount");
    Recover({{"wait_ms", 1000}});
    Settle();
    EXPECT_EQ(Count("red Unmount"), unmounts);
    ASSERT_EQ(Pending().size(), 1u);
    std::string why = Pending()[0]["error"];
    EXPECT_HAS(why, file);
    EXPECT_HAS(why, "`dvdi forget red/a`");
    // Once the driver says that it has nothing mounted there is nothing to prove.
    world_.transport.ForgetMounts("red", true);
    Settle();
    EXPECT_EQ(Pending(), Json::array());
    EXPECT_EQ(Count("red Unmount"), unmounts);
    EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
    ExpectNothingLeft();
  }
}

// A driver that has plain folders for volumes has no mount that could be left: it is believed.
TEST_F(ReleaseTest, OfAPlainFolderADriverThatKnowsNoSuchVolumeIsBelieved) {
  const std::string folder = root_ + "/plain";
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Mount") *reply = Says(Dump({{"Mountpoint", folder}, {"Err", ""}}));
    if (method == "Unmount") *reply = Says("{\"Err\":\"no such volume\"}", 500);
    return method == "Mount" || method == "Unmount";
  };
  MakeVolume("red", "a");
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  world_.transport.plugins["red"].volumes.clear();
  Cleanup("one");
  Settle();
  EXPECT_EQ(Pending(), Json::array());
}

// For want of memory, say: of each look at a file in turn, which of them is the one at that file nobody
// knows.
TEST_F(ReleaseTest, WhereTheFileThatProvesItOursCannotBeLookedAtNoUnmountIsSent) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  const std::string file = settings_.state_dir + "/stage/" + IdOf("red", "a") + "/meta.json";
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  ASSERT_TRUE(std::filesystem::remove(file));
  world_.transport.plugins["red"].up = true;
  const int unmounts = Count("red Unmount");
  int looks = 0, left = 0;
  for (int n = 1; left <= 0; ++n, ++looks) {
    left = n;
    world_.sys.look_fault = [&](const char* call) {
      return std::string_view(call) == "fstatat" && --left == 0 ? ENOMEM : 0;
    };
    Settle();
    world_.sys.look_fault = nullptr;
    ASSERT_EQ(Count("red Unmount"), unmounts) << "look " << n;
  }
  EXPECT_GT(looks, 1);
}

}  // namespace
}  // namespace dvdi
