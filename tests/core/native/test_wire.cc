// The native endpoint without Python: messages that are read plainly or not at all, and calls over real sockets.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "endpoint.h"
#include "message.h"
#include "peer.h"

namespace rowbank::wire {
namespace {

using test::call;
using test::frame;

constexpr char kEcho[] = "/echo";

// Answers a call with its request.
class Echo : public Worker {
 public:
  void work(std::shared_ptr<Call> call) override {
    ++worked;
    Answer answer;
    answer.message = {call->body.data, call->body_bytes, call->body.owner};
    endpoint->answer(*call, std::move(answer));
  }
  Room allocate(std::size_t, std::size_t bytes) override {
    largest = std::max(largest.load(), bytes);
    std::shared_ptr<char[]> made(new char[bytes + 1]);
    return {made.get(), made, false};
  }
  Answer refusal(Refusal why) override {
    Answer answer;
    answer.status = why == Refusal::kSlow ? 4 : 14;
    return answer;
  }

  std::optional<Answer> look(const std::string& path, const std::shared_ptr<Call>& call) override {
    CHECK(call->connection != nullptr);
    looked += 1;
    return path == "/locked" ? std::optional<Answer>(refusal(Refusal::kWrongServer)) : std::nullopt;
  }

  Endpoint* endpoint = nullptr;
  std::atomic<int> worked{0};
  std::atomic<int> looked{0};
  std::atomic<std::size_t> largest{0};  // Room that was asked for at once.
};

EndpointOptions options() {
  EndpointOptions options;
  options.methods = {kEcho};
  options.unknown_method = "unknown";
  options.max_message_bytes = 1 << 20;
  options.max_answer_bytes = 1 << 20;
  options.max_connections = 64;
  options.max_arriving = 1000;
  options.max_arriving_a_place = 1000;
  options.message_timeout_ns = 20'000'000'000;
  return options;
}

// An endpoint on a socket of its own, with threads.
class Served {
 public:
  explicit Served(EndpointOptions given = options(), int threads = 3) : endpoint_(std::move(given), &echo_) {
    echo_.endpoint = &endpoint_;
    char folder[] = "/tmp/rowbank-wire-XXXXXX";
    CHECK(::mkdtemp(folder) != nullptr);
    folder_ = folder;
    endpoint_.listen_unix(path());
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { endpoint_.serve(); });
  }
  ~Served() {
    endpoint_.stop();
    for (auto& thread : threads_) thread.join();
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/s"; }
  Endpoint& endpoint() { return endpoint_; }
  Echo& echo() { return echo_; }

 private:
  Echo echo_;
  Endpoint endpoint_;
  std::string folder_;
  std::vector<std::thread> threads_;
};

class Peer {
 public:
  explicit Peer(const std::string& path, bool greets = true) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval longest{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
    if (greets) {
      say(std::string(test::kPreface) + frame(test::kSettings, 0, 0, "") +
          frame(test::kWindow, 0, 0, test::big_endian(1U << 30, 4)));
    }
  }
  ~Peer() { ::close(socket_); }

  // False: the server has had enough.
  bool say(const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t some = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (some <= 0) return false;
      sent += static_cast<std::size_t>(some);
    }
    return true;
  }
  // The bytes of a stream's messages until it ends; what other streams get is kept for them. "gone": no more comes.
  std::string answer(std::uint32_t stream) {
    while (!ended_[stream]) {
      if (!read_frame()) return "gone";
    }
    return bodies_[stream];
  }
  void close() { ::shutdown(socket_, SHUT_RDWR); }

 private:
  bool fill(std::size_t size) {
    char room[4096];
    while (data_.size() < size) {
      const ssize_t got = ::recv(socket_, room, sizeof room, 0);
      if (got <= 0) return false;
      data_.append(room, static_cast<std::size_t>(got));
    }
    return true;
  }
  bool read_frame() {
    constexpr std::size_t kHead = 9;
    if (!fill(kHead)) return false;
    const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(data_[at])); };
    const std::size_t size = byte(0) << 16 | byte(1) << 8 | byte(2);
    const std::uint32_t kind = byte(3);
    const std::uint32_t flags = byte(4);
    const std::uint32_t stream = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    if (!fill(kHead + size)) return false;
    if (kind == test::kData) bodies_[stream] += data_.substr(kHead, size);
    const bool last = kind == test::kReset || ((kind == test::kData || kind == test::kHeaders) && (flags & 1) != 0);
    ended_[stream] = ended_[stream] || last;
    data_.erase(0, kHead + size);
    return true;
  }

  int socket_;
  std::string data_;
  std::unordered_map<std::uint32_t, std::string> bodies_;
  std::unordered_map<std::uint32_t, bool> ended_;
};

constexpr std::uint8_t kAcknowledged = 1;
constexpr std::size_t kFrameBytes = 16384;  // The most that a peer that has not heard of another limit may send.

// The rest of a stream.
std::string data_frames(std::uint32_t stream, const std::string& bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += kFrameBytes) {
    const bool last = at + kFrameBytes >= bytes.size();
    out += frame(test::kData, last ? test::kEndStream : 0, stream, bytes.substr(at, kFrameBytes));
  }
  return out;
}

TEST(wire, numbers_longer_than_protobuf_takes_are_odd) {
  const auto reads = [](const std::string& bytes) {
    FieldReader reader(bytes.data(), bytes.size());
    while (reader.next()) {
    }
    return !reader.odd();
  };
  CHECK(reads(std::string("\x0a\x00", 2)));
  CHECK(reads(std::string("\x8a\x80\x80\x80\x00\x00", 6)));       // A tag of five bytes,
  CHECK(!reads(std::string("\x8a\x80\x80\x80\x80\x00\x00", 7)));  // and of six.
  CHECK(reads(std::string("\x0a\x80\x80\x80\x80\x00", 6)));       // A length of five bytes,
  CHECK(!reads(std::string("\x0a\x80\x80\x80\x80\x80\x00", 7)));  // and of six.
  CHECK(reads("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));   // 2^64 - 1,
  CHECK(!reads("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));  // and what is more.
  CHECK(!reads(std::string("\x02\x00", 2)));                      // Field 0.
  CHECK(
      !reads("\x0a\x05"
             "abc"));     // Cut short.
  CHECK(!reads("\x0b"));  // A group.
}

TEST(wire, calls_are_answered) {
  Served served;
  Peer peer(served.path());
  std::mt19937_64 random(5);
  for (std::uint32_t stream = 1; stream < 60; stream += 2) {
    const std::string body(random() % 9000, static_cast<char>('a' + random() % 26));
    CHECK(peer.say(call(stream, kEcho, body)));
    CHECK(peer.answer(stream) == test::message(body));
  }
  CHECK(peer.say(call(101, "/other", "")));
  CHECK(peer.answer(101).empty());
  CHECK(served.endpoint().unfinished() == 0);
}

TEST(wire, calls_at_once_over_one_connection) {
  Served served;
  Peer peer(served.path());
  std::string all;
  for (std::uint32_t stream = 1; stream < 100; stream += 2) all += call(stream, kEcho, std::to_string(stream));
  CHECK(peer.say(all));
  for (std::uint32_t stream = 1; stream < 100; stream += 2) {
    CHECK(peer.answer(stream) == test::message(std::to_string(stream)));
  }
}

TEST(wire, what_arrives_when_it_stops_is_unfinished) {
  Served served;
  Peer peer(served.path());
  CHECK(peer.say(call(1, kEcho, "a")));
  CHECK(peer.answer(1) == test::message("a"));
  const std::string whole = call(3, kEcho, "bc");
  CHECK(peer.say(whole.substr(0, whole.size() - 1)));
  while (served.endpoint().unfinished() == 0) std::this_thread::yield();
  served.endpoint().say_goodbye();
  CHECK_EQ(served.endpoint().unfinished(), 1U);
  peer.close();
  while (served.endpoint().unfinished() != 0) std::this_thread::yield();
}

TEST(wire, what_is_refused_by_its_headers_is_not_waited_for) {
  Served served;
  Peer peer(served.path());
  CHECK(peer.say(frame(test::kHeaders, test::kEndHeaders, 1, test::call_fields("/locked"))));
  CHECK(peer.answer(1).empty());
  CHECK(served.echo().looked == 1);
  CHECK(served.endpoint().unfinished() == 0);
  CHECK(peer.say(call(3, kEcho, "abc")));
  CHECK(peer.answer(3) == test::message("abc"));
}

TEST(wire, room_for_a_request_grows_with_what_comes) {
  EndpointOptions given = options();
  given.max_message_bytes = given.max_answer_bytes = std::size_t{64} << 20;
  Served served(std::move(given));
  Peer peer(served.path());
  std::string body(std::size_t{7} << 20, 'x');
  for (std::size_t i = 0; i < body.size(); i += 4096) body[i] = static_cast<char>(i >> 12);
  const std::string whole = test::message(body);
  CHECK(peer.say(frame(test::kSettings, kAcknowledged, 0, "") +  // From then on its window holds for this side.
                 frame(test::kHeaders, test::kEndHeaders, 1, test::call_fields(kEcho)) +
                 frame(test::kWindow, 0, 1, test::big_endian(1U << 30, 4)) +
                 frame(test::kData, 0, 1, whole.substr(0, kFrameBytes))));
  CHECK(peer.say(call(3, kEcho, "abc")));
  CHECK(peer.answer(3) == test::message("abc"));
  CHECK(served.echo().largest == std::size_t{2} << 20);
  CHECK(peer.say(data_frames(1, whole.substr(kFrameBytes))));
  const std::string answer = peer.answer(1);
  CHECK(answer.size() == whole.size());
  CHECK(answer == whole);
}

TEST(wire, the_one_that_takes_longest_gives_way) {
  EndpointOptions given = options();
  given.max_arriving = 2;
  given.max_arriving_a_place = 2;
  Served served(std::move(given));
  const std::string begun = frame(test::kHeaders, test::kEndHeaders, 1, test::call_fields(kEcho));
  Peer slow(served.path());
  Peer other(served.path());
  CHECK(slow.say(begun));
  CHECK(other.say(begun));
  while (served.endpoint().unfinished() < 2) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // From then on it counts as slow.
  Peer third(served.path());
  CHECK(third.say(call(1, kEcho, "abc")));
  CHECK(third.answer(1) == test::message("abc"));
  CHECK(slow.answer(1).empty());  // It is told.
  CHECK(served.endpoint().counts().refused[static_cast<std::size_t>(Refusal::kSlow)] == 1);
}

TEST(wire, a_place_with_less_gets_room_from_the_one_with_most) {
  Intake intake(4, 4);
  for (std::int32_t stream = 1; stream <= 3; ++stream) CHECK(intake.begin("ipv4:10.0.0.1:1", {}, stream, 0) != 0);
  CHECK(intake.begin("ipv4:10.0.0.2:1", {}, 1, 0) == 4);
  CHECK(intake.begin("ipv4:10.0.0.1:2", {}, 7, 1) == 0);  // Who has most gets no more.
  CHECK(intake.begin("ipv4:10.0.0.2:2", {}, 1, 1) == 5);
  CHECK(intake.begin("ipv4:10.0.0.3:1", {}, 1, 1) == 6);
  const auto displaced = intake.take_displaced();
  CHECK(displaced.size() == 2);
  CHECK(displaced[0].id == 1);
  intake.end(1, false);  // It is not there any more.
  CHECK(intake.unfinished() == 4);
  intake.end(2, true);
  intake.end(3, false);
  CHECK(intake.unfinished() == 3);
  intake.worked();
  CHECK(intake.unfinished() == 2);
}

TEST(wire, who_reads_nothing_is_let_go) {
  EndpointOptions given = options();
  given.max_message_bytes = given.max_answer_bytes = std::size_t{8} << 20;
  given.message_timeout_ns = 50'000'000;
  Served served(std::move(given));
  Peer peer(served.path());
  const std::string body(std::size_t{4} << 20, 'x');
  const std::string whole = test::message(body);
  CHECK(peer.say(frame(test::kSettings, kAcknowledged, 0, "") +
                 frame(test::kHeaders, test::kEndHeaders, 1, test::call_fields(kEcho)) + data_frames(1, whole)));
  while (served.endpoint().counts().connections != 0) {  // Most of the answer waits for the peer.
    served.endpoint().sweep();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(served.echo().worked == 1);
  CHECK(served.endpoint().unfinished() == 0);
}

TEST(wire, a_file_that_is_no_socket_is_left_alone) {
  char name[] = "/tmp/rowbank-wire-XXXXXX";
  const int file = ::mkstemp(name);
  CHECK(file >= 0);
  ::close(file);
  Echo echo;
  Endpoint endpoint(options(), &echo);
  bool refused = false;
  try {
    endpoint.listen_unix(name);
  } catch (const std::system_error&) {
    refused = true;
  }
  CHECK(refused);
  CHECK(::access(name, F_OK) == 0);
  ::unlink(name);
}

// Random and damaged frames from some, calls from others, while connections come, go and are swept.
TEST(wire, peers_that_send_anything_at_once) {
  EndpointOptions given = options();
  given.message_timeout_ns = 20'000'000'000;
  Served served(given, 4);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937_64 random(seed + 900);
      while (!done) {
        Peer peer(served.path(), random() % 8 != 0);
        for (std::uint32_t stream = 1; stream < 40 && !done; stream += 2) {
          std::string bytes = call(stream, kEcho, std::string(random() % 300, 'x'));
          for (int i = 0; i < 2 && random() % 3 == 0; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
          if (random() % 5 == 0) bytes.resize(random() % bytes.size());
          if (random() % 9 == 0) bytes += frame(test::kReset, 0, stream, test::big_endian(8, 4));
          if (!peer.say(bytes)) break;
        }
      }
    });
  }
  for (int caller = 0; caller < 2; ++caller) {
    threads.emplace_back([&, caller] {
      for (int round = 0; round < 40; ++round) {
        Peer peer(served.path());
        for (std::uint32_t stream = 1; stream < 20; stream += 2) {
          const std::string body =
              std::to_string(caller) + ":" + std::to_string(round * 100 + static_cast<int>(stream));
          CHECK(peer.say(call(stream, kEcho, body)));
          CHECK(peer.answer(stream) == test::message(body));
        }
      }
    });
  }
  threads.emplace_back([&] {
    while (!done) served.endpoint().sweep();
  });
  threads[3].join();
  threads[4].join();
  done = true;
  for (const int one : {0, 1, 2, 5}) threads[static_cast<std::size_t>(one)].join();
  while (served.endpoint().counts().connections != 0) {
    served.endpoint().sweep();
    std::this_thread::yield();
  }
  CHECK_EQ(served.endpoint().unfinished(), 0U);
}

TEST(wire, it_stops_while_it_is_called) {
  for (int round = 0; round < 10; ++round) {
    std::vector<std::thread> callers;
    {
      Served served;
      std::atomic<int> begun{0};
      for (int caller = 0; caller < 3; ++caller) {
        callers.emplace_back([&begun, path = served.path()] {
          Peer peer(path);
          ++begun;
          for (std::uint32_t stream = 1; peer.say(call(stream, kEcho, "abc")); stream += 2) {
            if (peer.answer(stream) == "gone") break;
          }
        });
      }
      while (begun < 3 || served.echo().worked < 20) std::this_thread::yield();
      served.endpoint().say_goodbye();
    }
    for (auto& caller : callers) caller.join();
  }
}

}  // namespace
}  // namespace rowbank::wire
