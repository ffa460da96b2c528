#include "plugin/http.h"

// Beast 1.74 asserts that a last chunk, once begun, comes with more than its own line; it may come byte by
// byte.
#define BOOST_DISABLE_ASSERTS
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "base/guards.h"

namespace dvdi {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

constexpr size_t kMaxHeader = 64 * 1024;
// What may wait unparsed: a header, a chunk's extensions, trailers. Beast bounds only the first.
constexpr size_t kMaxPending = kMaxHeader + 64 * 1024;
constexpr int kMaxInterim = 16;  // 1xx responses before the real one

}  // namespace

std::string HttpRequestText(std::string_view path, std::string_view host, std::string_view body) {
  std::string text;
  text.reserve(256 + path.size() + body.size());
  text.append("POST ").append(path).append(" HTTP/1.1\r\nHost: ").append(host);
  text.append(
      "\r\nUser-Agent: dvdi\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n"
      "Content-Type: application/json\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  return text;
}

struct HttpResponse::Impl {
  explicit Impl(size_t max) : max_body(max) { Restart(); }

  void Restart() {
    parser.emplace();
    // One element for each put: an eager put goes on into the body after a header whose
    // Content-Length is over the limit, and loses that error (Boost 1.74).
    parser->eager(false);
    parser->header_limit(kMaxHeader);
    if (DVDI_GUARD(body_bound)) parser->body_limit(max_body);
  }
  State Fail(std::string why) {
    error = std::move(why);
    return state = State::kMalformed;
  }
  // Whether the status is one of HTTP's; Fail else.
  bool KnownStatus() {
    const int status = static_cast<int>(parser->get().result_int());
    if (status >= 100 && status <= 599) return true;
    Fail("status " + std::to_string(status));
    return false;
  }
  State Parse();

  const size_t max_body;
  std::optional<Parser> parser;
  std::string pending;  // bytes that the parser has not taken
  std::string error;
  State state = State::kMore;
  int interim = 0;
  bool started = false;
  bool closed = false;  // the body ended with the connection
};

HttpResponse::State HttpResponse::Impl::Parse() {
  size_t taken = 0;
  struct Erase {
    std::string& from;
    size_t& n;
    ~Erase() { from.erase(0, n); }
  } erase{pending, taken};
  while (taken < pending.size() && state == State::kMore) {
    boost::beast::error_code ec;
    size_t used = parser->put(boost::asio::buffer(pending.data() + taken, pending.size() - taken), ec);
    taken += used;
    if (ec == http::error::need_more) {
      if (pending.size() - taken > kMaxPending) return Fail("a header or chunk of more than 128 KiB");
      return state;
    }
    if (ec == http::error::body_limit || ec == http::error::buffer_overflow) return state = State::kTooLarge;
    if (ec) return Fail(ec.message());
    if (!parser->is_done()) {
      if (used == 0) return Fail("no progress");  // cannot happen; never loop on it
      continue;
    }
    const int status = static_cast<int>(parser->get().result_int());
    if (!KnownStatus()) return state;
    if (status >= 200) return state = State::kDone;
    if (status == 101) return Fail("switches protocols (status 101)");
    if (++interim > kMaxInterim) return Fail("too many interim responses");
    Restart();
  }
  return state;
}

HttpResponse::HttpResponse(size_t max_body) : impl_(std::make_unique<Impl>(max_body)) {}
HttpResponse::~HttpResponse() = default;
HttpResponse::HttpResponse(HttpResponse&&) noexcept = default;
HttpResponse& HttpResponse::operator=(HttpResponse&&) noexcept = default;

HttpResponse::State HttpResponse::Feed(std::string_view bytes) {
  Impl& i = *impl_;
  if (bytes.empty()) return i.state;
  i.started = true;
  i.pending.append(bytes);
  // The error_code overloads throw nothing of their own; a body that does not fit in memory does.
  try {
    return i.Parse();
  } catch (const std::exception& e) {
    return i.Fail(e.what());
  }
}

HttpResponse::State HttpResponse::Eof() {
  Impl& i = *impl_;
  if (i.state != State::kMore || !i.parser->got_some() || !i.pending.empty()) return i.state;
  boost::beast::error_code ec;
  try {
    i.parser->put_eof(ec);
  } catch (const std::exception& e) {
    return i.Fail(e.what());
  }
  if (ec || !i.parser->is_done() || !i.KnownStatus()) return i.state;
  i.closed = true;
  return i.state = State::kDone;
}

int HttpResponse::status() const { return static_cast<int>(impl_->parser->get().result_int()); }
std::string HttpResponse::header(std::string_view name) const {
  auto value = impl_->parser->get()[boost::beast::string_view(name.data(), name.size())];
  return std::string(value.data(), value.size());
}
std::string HttpResponse::TakeBody() { return std::move(impl_->parser->get().body()); }
bool HttpResponse::keep_alive() const {
  const Impl& i = *impl_;
  return i.state == State::kDone && !i.closed && i.pending.empty() && i.parser->keep_alive();
}
bool HttpResponse::started() const { return impl_->started; }
const std::string& HttpResponse::error() const { return impl_->error; }

}  // namespace dvdi
