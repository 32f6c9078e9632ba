// What waits to be written to a socket: small pieces copied, large ones as views of memory that somebody keeps.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace rowbank::wire {

// Bytes that stay where they are as long as `owner` lives.
struct SharedBytes {
  const char* data = nullptr;
  std::size_t size = 0;
  std::shared_ptr<const void> owner;
};

// Not thread-safe.
class Outbox {
 public:
  void copy(const void* data, std::size_t size);
  void view(const char* data, std::size_t size, const std::shared_ptr<const void>& owner);

  std::size_t bytes() const { return bytes_; }
  bool empty() const { return pieces_.empty(); }
  // Bytes that sockets took so far.
  std::uint64_t written() const { return written_; }

  enum class Written { kAll, kBlocked, kBroken };
  // Writes until all is written or the socket takes no more.
  Written write(int socket);

 private:
  struct Piece {
    std::string own;  // Used if `data` is null.
    const char* data = nullptr;
    std::size_t size = 0;
    std::shared_ptr<const void> owner;

    const char* begin() const { return data == nullptr ? own.data() : data; }
    std::size_t length() const { return data == nullptr ? own.size() : size; }
  };
  void drop(std::size_t written);

  std::deque<Piece> pieces_;
  std::size_t front_written_ = 0;  // Of the first piece.
  std::size_t bytes_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace rowbank::wire
