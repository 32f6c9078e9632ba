// A connection of the client whose server says random things, for the sanitizers: tests/native/test_sanitized.py.
// Usage: line_random SEED ROUNDS
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "line.h"

namespace {

using rowbank::wire::Line;
using rowbank::wire::now_ns;
using rowbank::wire::Request;

std::string frame(std::size_t length, int type, int flags, std::uint32_t stream, const std::string& payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(length >> shift));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(stream >> shift));
  return out + payload;
}

std::string field(const std::string& name, const std::string& value) {
  std::string out(1, '\0');
  for (const std::string& text : {name, value}) out += static_cast<char>(text.size()) + text;
  return out;
}

std::string bytes(std::mt19937_64& random, std::size_t most) {
  std::string out(random() % (most + 1), '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

// What a server might say: pieces of an answer, pieces of nonsense.
std::string answer(std::mt19937_64& random) {
  const std::string head = field(":status", "200") + field("content-type", "application/grpc");
  std::string message = bytes(random, 5000);
  std::string prefix(1, random() % 20 == 0 ? '\1' : '\0');
  const std::size_t length = random() % 8 == 0 ? random() % 9000 : message.size();
  for (const int shift : {24, 16, 8, 0}) prefix.push_back(static_cast<char>(length >> shift));
  message = prefix + message;
  std::string out = frame(head.size(), 1, 4, 1, head);
  while (!message.empty()) {
    const std::string part = message.substr(0, 1 + random() % message.size());
    message.erase(0, part.size());
    out += frame(part.size(), 0, 0, 1, part);
    if (random() % 6 == 0) out += frame(8, 6, 0, 0, "pingping");
    if (random() % 30 == 0) {
      const std::string payload = bytes(random, 60);
      out += frame(payload.size(), static_cast<int>(random() % 12), static_cast<int>(random() % 256), random() % 4,
                   payload);
    }
  }
  const std::string tail = field("grpc-status", random() % 4 == 0 ? bytes(random, 5) : "0") +
                           field("grpc-message", bytes(random, 20)) + field("x-bin", bytes(random, 20));
  out += frame(tail.size(), 1, 5, 1, tail);
  if (random() % 3 == 0) out = out.substr(0, random() % (out.size() + 1));
  for (std::size_t flips = random() % 4 == 0 ? random() % 5 : 0; flips > 0 && !out.empty(); --flips) {
    out[random() % out.size()] = static_cast<char>(random());
  }
  return out;
}

void serve(int listener, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const int peer = ::accept(listener, nullptr, nullptr);
  const timeval patience{0, 20000};
  ::setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string said = frame(0, 4, 0, 0, "");
  ::send(peer, said.data(), said.size(), MSG_NOSIGNAL);
  char room[65536];
  ::recv(peer, room, sizeof room, 0);
  said = answer(random);
  for (std::size_t at = 0; at < said.size();) {
    const std::size_t size = std::min(said.size() - at, 1 + random() % 3000);
    if (::send(peer, said.data() + at, size, MSG_NOSIGNAL) < 0) break;
    at += size;
    if (random() % 4 == 0) std::this_thread::yield();
  }
  if (random() % 2 == 0) {
    ::shutdown(peer, SHUT_WR);
  }
  while (::recv(peer, room, sizeof room, 0) > 0) {
  }
  ::close(peer);
}

// How often calls ended how; the last: not at all.
std::array<std::uint64_t, 4> endings{};

void one_round(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
    throw std::runtime_error("no socket to listen at");
  }
  std::thread server(serve, listener, seed + 1);
  try {
    Line line("127.0.0.1:" + std::to_string(ntohs(at.sin_port)), 8000, now_ns() + 2'000'000'000, [] { return false; });
    const std::string sent = bytes(random, random() % 8 == 0 ? 200'000 : 200);
    const Request request{
        "/t/Echo",
        "a",
        {{"k", "v"}},
        "1S",
        {{sent.data(), sent.size() / 2}, {sent.data() + sent.size() / 2, sent.size() - sent.size() / 2}}};
    std::unique_ptr<char[]> room;  // Exactly as long as asked for, so that a byte beyond it is a fault.
    const auto make = [&room](std::size_t length) { return (room = std::make_unique<char[]>(length)).get(); };
    if (line.start(request, make, now_ns() + 50'000'000, [] { return false; }) &&
        line.finish(now_ns() + 50'000'000, [] { return false; })) {
      ++endings.at(static_cast<std::size_t>(line.reply().ending));
      line.end_call();
      line.usable();
    } else {
      ++endings.at(3);
    }
  } catch (const std::runtime_error&) {
  }
  server.join();
  ::close(listener);
}

}  // namespace

int main(int count, char** arguments) {
  const std::uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  const std::uint64_t rounds = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 200;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    one_round(seed * 1'000'003 + round * 2);
  }
  std::printf("seed %lu: %lu answered, %lu unsent, %lu lost, %lu without an end\n", seed, endings[0], endings[1],
              endings[2], endings[3]);
  return 0;
}
