#include "plugin/http.h"

#include <gtest/gtest.h>

#include <random>

namespace dvdi {
namespace {

using State = HttpResponse::State;

TEST(HttpRequest, SaysWhatTheReferenceClientSays) {
  EXPECT_EQ(HttpRequestText("/VolumeDriver.Get", "", "{}\n"),
            "POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nUser-Agent: dvdi\r\n"
            "Accept: application/vnd.docker.plugins.v1.2+json\r\nContent-Type: application/json\r\n"
            "Content-Length: 3\r\n\r\n{}\n");
}

// The text in pieces of one size: done with the last of them, and not before.
void FeedInPieces(const std::string& text, size_t piece, HttpResponse* r) {
  State state = State::kMore;
  for (size_t at = 0; at < text.size(); at += piece) {
    ASSERT_EQ(state, State::kMore);
    state = r->Feed(std::string_view(text).substr(at, piece));
  }
  ASSERT_EQ(state, State::kDone) << piece;
}

TEST(HttpResponse, ContentLengthInAnyPieces) {
  const std::string text = "HTTP/1.1 500 Oh\r\nX: y\r\nContent-Length: 5\r\n\r\nhello";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    HttpResponse r(100);
    ASSERT_NO_FATAL_FAILURE(FeedInPieces(text, piece, &r));
    EXPECT_EQ(r.status(), 500);
    EXPECT_TRUE(r.keep_alive());
    EXPECT_EQ(r.TakeBody(), "hello");
  }
}

TEST(HttpResponse, ChunkedWithExtensionsAndTrailers) {
  const std::string text =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: "
      "x\r\n\r\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    HttpResponse r(5);
    State state = State::kMore;
    for (size_t at = 0; at < text.size(); at += piece)
      state = r.Feed(std::string_view(text).substr(at, piece));
    ASSERT_EQ(state, State::kDone) << piece;
    EXPECT_EQ(r.TakeBody(), "hello");
  }
}

TEST(HttpResponse, AnEmptyChunkedBodyInAnyPieces) {
  const std::string text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    HttpResponse r(100);
    ASSERT_NO_FATAL_FAILURE(FeedInPieces(text, piece, &r));
    EXPECT_EQ(r.TakeBody(), "");
  }
}

TEST(HttpResponse, InterimResponsesAreSkipped) {
  HttpResponse r(100);
  EXPECT_EQ(r.Feed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"), State::kMore);
  EXPECT_EQ(r.Feed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), State::kDone);
  EXPECT_EQ(r.status(), 200);
}

TEST(HttpResponse, EndlessInterimResponsesAreNot) {
  HttpResponse r(100);
  State state = State::kMore;
  for (int i = 0; i < 1000 && state == State::kMore; ++i) state = r.Feed("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(state, State::kMalformed);
}

TEST(HttpResponse, SwitchingProtocolsIsNoAnswer) {
  HttpResponse r(100);
  EXPECT_EQ(r.Feed("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), State::kMalformed);
}

TEST(HttpResponse, BodyThatTheEndOfTheConnectionEnds) {
  HttpResponse r(100);
  EXPECT_EQ(r.Feed("HTTP/1.0 200 OK\r\n\r\nhel"), State::kMore);
  EXPECT_EQ(r.Feed("lo"), State::kMore);
  EXPECT_EQ(r.Eof(), State::kDone);
  EXPECT_FALSE(r.keep_alive());
  EXPECT_EQ(r.TakeBody(), "hello");
}

TEST(HttpResponse, AStatusThatIsNoneOfHttpIsNoAnswerWhateverEndsTheBody) {
  HttpResponse counted(100), closed(100);
  EXPECT_EQ(counted.Feed("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"), State::kMalformed);
  EXPECT_EQ(closed.Feed("HTTP/1.1 999 X\r\n\r\nhello"), State::kMore);
  EXPECT_EQ(closed.Eof(), State::kMalformed);
  EXPECT_EQ(closed.error(), "status 999");
}

TEST(HttpResponse, CutShortIsNotDone) {
  for (const char* text :
       {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    HttpResponse r(100);
    EXPECT_EQ(r.Feed(text), State::kMore) << text;
    EXPECT_EQ(r.Eof(), State::kMore) << text;
  }
}

TEST(HttpResponse, KeepAliveOnlyWhereNothingIsLeftOver) {
  HttpResponse closing(100), old(100), more(100);
  EXPECT_EQ(closing.Feed("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), State::kDone);
  EXPECT_FALSE(closing.keep_alive());
  EXPECT_EQ(old.Feed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), State::kDone);
  EXPECT_FALSE(old.keep_alive());
  EXPECT_EQ(more.Feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n"), State::kDone);
  EXPECT_FALSE(more.keep_alive());
}

TEST(HttpResponse, BodiesAreBounded) {
  EXPECT_EQ(HttpResponse(4).Feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), State::kTooLarge);
  EXPECT_EQ(HttpResponse(4).Feed("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"),
            State::kTooLarge);
  EXPECT_EQ(
      HttpResponse(4).Feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n"),
      State::kTooLarge);
  EXPECT_EQ(HttpResponse(4).Feed("HTTP/1.0 200 OK\r\n\r\nhello"), State::kTooLarge);
}

TEST(HttpResponse, HeadersAndChunkExtensionsAreBounded) {
  const std::string piece(1000, 'a');
  for (const char* start :
       {"HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"}) {
    HttpResponse r(4);
    State state = r.Feed(start);
    for (int i = 0; i < 300 && state == State::kMore; ++i) state = r.Feed(piece);
    EXPECT_EQ(state, State::kMalformed) << start;
  }
}

TEST(HttpResponse, GarbageIsMalformed) {
  for (const char* text : {"SSH-2.0-OpenSSH_9\r\n\r\n", "{\"Err\":\"\"}\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
                           "HTTP/1.1 700 Strange\r\nContent-Length: 0\r\n\r\n"}) {
    HttpResponse r(100);
    EXPECT_EQ(r.Feed(text), State::kMalformed) << text;
    EXPECT_FALSE(r.error().empty());
  }
}

// Whatever comes, in whatever pieces: one of the four states, never a crash, never a body over the bound.
TEST(HttpResponse, DamagedResponses) {
  const std::string seeds[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"Mountpoint\":\"/mnt\"}",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nT: x\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 500 Oh\r\nA: b\r\n c\r\n\r\nplain"};
  std::mt19937 random(7);
  int ends[4] = {};
  for (int round = 0; round < 20'000; ++round) {
    std::string text = seeds[random() % std::size(seeds)];
    for (unsigned i = random() % 4; i > 0; --i) {
      size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 3); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 10));
      }
      if (text.empty()) text = "x";
    }
    HttpResponse r(16);
    State state = State::kMore;
    for (size_t at = 0; at < text.size() && state == State::kMore;) {
      size_t n = 1 + random() % 9;
      state = r.Feed(std::string_view(text).substr(at, n));
      at += n;
    }
    if (state == State::kMore) state = r.Eof();
    ++ends[static_cast<int>(state)];
    if (state == State::kDone) {
      EXPECT_LE(r.TakeBody().size(), 16u);
      EXPECT_GE(r.status(), 200);
    }
  }
  for (int n : ends) EXPECT_GT(n, 0);
}

}  // namespace
}  // namespace dvdi
