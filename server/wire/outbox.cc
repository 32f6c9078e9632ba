#include "outbox.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace rowbank::wire {
namespace {

constexpr std::size_t kPieces = 64;  // A call of the system.

}  // namespace

void Outbox::copy(const void* data, std::size_t size) {
  if (pieces_.empty() || pieces_.back().data != nullptr) {
    pieces_.emplace_back();
  }
  pieces_.back().own.append(static_cast<const char*>(data), size);
  bytes_ += size;
}

void Outbox::view(const char* data, std::size_t size, const std::shared_ptr<const void>& owner) {
  if (size == 0) {
    return;
  }
  Piece piece;
  piece.data = data;
  piece.size = size;
  piece.owner = owner;
  pieces_.push_back(std::move(piece));
  bytes_ += size;
}

Outbox::Written Outbox::write(int socket) {
  while (!pieces_.empty()) {
    std::array<iovec, kPieces> parts;
    std::size_t count = 0;
    for (const Piece& piece : pieces_) {
      const std::size_t skipped = count == 0 ? front_written_ : 0;
      parts[count++] = {const_cast<char*>(piece.begin()) + skipped, piece.length() - skipped};
      if (count == kPieces) {
        break;
      }
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t written = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno == EAGAIN || errno == EWOULDBLOCK ? Written::kBlocked : Written::kBroken;
    }
    drop(static_cast<std::size_t>(written));
  }
  return Written::kAll;
}

void Outbox::drop(std::size_t written) {
  bytes_ -= written;
  written_ += written;
  while (written > 0) {
    const std::size_t left = pieces_.front().length() - front_written_;
    const std::size_t taken = std::min(left, written);
    written -= taken;
    front_written_ += taken;
    if (taken == left) {
      pieces_.pop_front();
      front_written_ = 0;
    }
  }
}

}  // namespace rowbank::wire
