#include "plugin/transport.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {

const Env& RealEnv() {
  static const auto* env = new Env{.sys = Sys::Real(),
                                   .transport = PluginTransport::Real(),
                                   .clock = Clock::Real(),
                                   .random = Random::Real(),
                                   .scheduler = Scheduler::Real(),
                                   .store = Store::Real()};
  return *env;
}

}  // namespace dvdi
