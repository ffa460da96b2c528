#include "plugin/transport.h"
#include "sys/env.h"

namespace dvdi {

const Env& RealEnv() {
  static const auto* env = [] {
    auto* e = new Env(SystemEnv());
    e->transport = PluginTransport::Real();
    return e;
  }();
  return *env;
}

}  // namespace dvdi
