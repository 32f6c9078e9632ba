#include "stream_append.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rowbank {
namespace {

constexpr std::size_t kMostPieces = 256;     // Of one call of the system, which takes 1024.
constexpr int kUnixBuffer = 8 << 20;         // The system grants less unless it was told otherwise.
constexpr std::size_t kLongestAnswer = 256;  // An id has 22 characters at most, and as many around it.

void append_bulk(std::string* out, std::string_view text) {
  out->append("$").append(std::to_string(text.size())).append("\r\n").append(text).append("\r\n");
}

// Redis's protocol around the bytes of records, which are not copied.
class Command {
 public:
  Command(const std::string& key, const JournalGroup& group) {
    std::string head = "*";
    head.append(std::to_string(4 + 2 * group.entries.size())).append("\r\n");
    for (const std::string& word : {std::string("XADD"), key, std::string("NOMKSTREAM"), id_of(group)}) {
      append_bulk(&head, word);
    }
    text(std::move(head));
    std::size_t place = 0;
    for (const auto& entry : group.entries) {
      std::string field;
      append_bulk(&field, std::to_string(place++));
      field.append("$").append(std::to_string(entry->size)).append("\r\n").append(entry->head);
      text(std::move(field));
      pieces_.push_back({const_cast<char*>(entry->body.data), entry->body.size});
      text("\r\n");
    }
  }

  std::vector<iovec>& pieces() { return pieces_; }

 private:
  static std::string id_of(const JournalGroup& group) {
    std::string id = std::to_string(group.number);
    return id.append("-0");
  }
  void text(std::string piece) {
    texts_.push_back(std::move(piece));
    pieces_.push_back({texts_.back().data(), texts_.back().size()});
  }

  std::deque<std::string> texts_;
  std::vector<iovec> pieces_;
};

// A unix socket holds 200 kB by default, so that a megabyte goes over in turns of sender and reader. TCP finds its size
// by itself, unless it is given one.
void hold_more(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX) {
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kUnixBuffer, sizeof kUnixBuffer);
  }
}

}  // namespace

StreamAppender::StreamAppender(int socket, std::string key, double timeout_s)
    : socket_(socket),
      key_(std::move(key)),
      timeout_ms_(static_cast<int>(std::min(timeout_s * 1e3, static_cast<double>(std::numeric_limits<int>::max())))) {
  hold_more(socket_);
}

Appended StreamAppender::append(const JournalGroup& group) {
  return send(group) ? receive() : Appended::kUnknown;
}

bool StreamAppender::send(const JournalGroup& group) {
  Command command(key_, group);
  std::vector<iovec>& pieces = command.pieces();
  std::size_t first = 0;
  while (first < pieces.size()) {
    if (pieces[first].iov_len == 0) {
      ++first;
      continue;
    }
    msghdr message{};
    message.msg_iov = pieces.data() + first;
    message.msg_iovlen = std::min(pieces.size() - first, kMostPieces);
    const ssize_t sent = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(POLLOUT))) {
        continue;
      }
      return false;
    }
    for (auto left = static_cast<std::size_t>(sent); left > 0;) {
      const std::size_t taken = std::min(left, pieces[first].iov_len);
      pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + taken;
      pieces[first].iov_len -= taken;
      left -= taken;
      first += pieces[first].iov_len == 0 ? 1 : 0;
    }
  }
  return true;
}

Appended StreamAppender::receive() {
  std::string answer;
  while (true) {
    char part[kLongestAnswer];
    const ssize_t got = ::recv(socket_, part, sizeof part, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && wait_for(POLLIN)))) {
      continue;
    }
    if (got <= 0) {
      return Appended::kUnknown;
    }
    answer.append(part, static_cast<std::size_t>(got));
    const std::size_t line = answer.find("\r\n");
    if (line == std::string::npos) {
      if (answer.size() > kLongestAnswer) {
        return Appended::kUnknown;
      }
      continue;
    }
    if (answer[0] != '$' || answer[1] == '-') {
      return answer[0] == '-' || answer[0] == '$' || answer[0] == '_' ? Appended::kRefused : Appended::kUnknown;
    }
    const std::size_t length = std::strtoul(answer.c_str() + 1, nullptr, 10);
    const std::size_t whole = line + 2 + length + 2;
    if (length > kLongestAnswer || answer.size() > whole) {
      return Appended::kUnknown;
    }
    if (answer.size() == whole) {
      return Appended::kYes;
    }
  }
}

bool StreamAppender::wait_for(short events) {
  pollfd waiting{socket_, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, timeout_ms_);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace rowbank
