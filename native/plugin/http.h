// The HTTP/1.1 of one exchange, apart from any socket: the request's bytes, and an incremental
// reader of the response over Boost.Beast's parser.
#ifndef DVDI_PLUGIN_HTTP_H_
#define DVDI_PLUGIN_HTTP_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace dvdi {

// Does nothing to its arguments: `path` and `host` must come from us, not from a user.
std::string HttpRequestText(std::string_view path, std::string_view host, std::string_view body);

// Reads one response, in whatever pieces it comes. Not thread-safe.
class HttpResponse {
 public:
  enum class State {
    kMore,       // not complete yet
    kDone,       // status() and body() are the answer
    kMalformed,  // not HTTP: error()
    kTooLarge,   // the body is longer than max_body
  };
  explicit HttpResponse(size_t max_body);
  ~HttpResponse();
  HttpResponse(HttpResponse&&) noexcept;
  HttpResponse& operator=(HttpResponse&&) noexcept;

  State Feed(std::string_view bytes);
  // The peer closed: kDone where the body was one that ends so; kMore where the answer is cut short.
  State Eof();

  int status() const;
  // A header's value; "" where it has none.
  std::string header(std::string_view name) const;
  std::string TakeBody();
  // Whether the connection can carry another exchange: asked for by the peer, nothing left over.
  bool keep_alive() const;
  // Whether any byte came.
  bool started() const;
  const std::string& error() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dvdi

#endif  // DVDI_PLUGIN_HTTP_H_
