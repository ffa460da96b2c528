// The real transport, for who must give it a clock or bounds of its own (tests).
#ifndef DVDI_PLUGIN_HTTP_TRANSPORT_H_
#define DVDI_PLUGIN_HTTP_TRANSPORT_H_

#include <cstdint>
#include <memory>

#include "plugin/transport.h"
#include "sys/env.h"

namespace dvdi {

struct HttpTransportOptions {
  int64_t idle_ms = 30'000;  // how long a connection is kept for a next call
  size_t max_idle = 64;      // over all addresses
  size_t max_parallel = 32;  // connections to one address from one Exchange; more requests wait
};

// `clock` must outlive it, and go on as CLOCK_MONOTONIC does while an Exchange runs.
std::unique_ptr<PluginTransport> MakeHttpTransport(Clock* clock, const HttpTransportOptions& options = {});

}  // namespace dvdi

#endif  // DVDI_PLUGIN_HTTP_TRANSPORT_H_
