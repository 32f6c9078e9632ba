#include "line.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace rowbank::wire {
namespace {

constexpr std::int64_t kSliceNs = 100'000'000;  // Between two looks at whether a call is to stop.
constexpr std::int32_t kMaxWindow = 0x7FFFFFFF;
constexpr std::uint32_t kMaxFrame = (1U << 24) - 1;
constexpr std::size_t kMostControlBytes = std::size_t{256} << 10;  // Unwritten, of a server that does not read.
constexpr int kUnknown = 2;
constexpr int kKeepAliveS = 10;
constexpr int kGoneAfterMs = 25'000;

void set(int socket, int level, int name, int value) {
  ::setsockopt(socket, level, name, &value, sizeof value);
}

int open_socket(const std::string& address, sockaddr_storage* to, socklen_t* size) {
  constexpr std::string_view kUnix = "unix:";
  if (address.compare(0, kUnix.size(), kUnix) == 0) {
    auto& local = reinterpret_cast<sockaddr_un&>(*to);
    const std::string path = address.substr(kUnix.size());
    if (path.empty() || path.size() >= sizeof local.sun_path) {
      throw std::runtime_error("not a path of a socket: " + address);
    }
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, path.c_str(), path.size() + 1);
    *size = sizeof local;
  } else {
    const std::size_t colon = address.rfind(':');
    std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
    const int port = colon == std::string::npos ? 0 : std::atoi(address.c_str() + colon + 1);
    if (host.size() > 2 && host.front() == '[') {
      host = host.substr(1, host.size() - 2);
    }
    auto& four = reinterpret_cast<sockaddr_in&>(*to);
    auto& six = reinterpret_cast<sockaddr_in6&>(*to);
    if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
      four.sin_family = AF_INET;
      four.sin_port = htons(static_cast<std::uint16_t>(port));
      *size = sizeof four;
    } else if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(static_cast<std::uint16_t>(port));
      *size = sizeof six;
    } else {
      throw std::runtime_error("not a numeric address: " + address);
    }
  }
  const int socket = ::socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) {
    throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
  }
  if (to->ss_family != AF_UNIX) {
    set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    // A machine that is gone without a word is noticed, while a call waits for it, too.
    set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(socket, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveS);
    set(socket, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveS / 2);
    set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kGoneAfterMs);
  }
  return socket;
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Line::Line(const std::string& address, std::size_t max_message_bytes, std::int64_t deadline_ns,
           const Interrupted& interrupted)
    : max_message_bytes_(max_message_bytes) {
  sockaddr_storage to{};
  socklen_t size = 0;
  socket_ = open_socket(address, &to, &size);
  bool timed_out = false;
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&to), size) != 0) {
    int error = errno;
    if (error == EINPROGRESS) {
      socklen_t length = sizeof error;
      error = 0;
      if (!wait(true, deadline_ns, interrupted, &timed_out)) {
        error = ETIMEDOUT;
      } else if (::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        error = errno;
      }
    }
    if (error != 0) {
      ::close(socket_);
      throw std::runtime_error(std::strerror(error));
    }
  }
  begin_session();
  if (!pump([this] { return greeted_; }, deadline_ns, interrupted) || broken_) {
    const std::string why = broken_ ? why_ : "it says nothing";
    abandon();
    throw std::runtime_error(why);
  }
}

Line::~Line() {
  abandon();
}

void Line::abandon() {
  if (session_ != nullptr) {
    nghttp2_session_del(session_);
    session_ = nullptr;
  }
  if (socket_ >= 0) {
    ::close(socket_);
    socket_ = -1;
  }
  broken_ = true;
}

void Line::disown() {
  session_ = nullptr;
  abandon();
}

nghttp2_session_callbacks* Line::callbacks() {
  static nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
      throw std::bad_alloc();
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks, guarded<&Line::on_header>);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, guarded<&Line::on_frame_begin>);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, guarded<&Line::on_frame>);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, guarded<&Line::on_data>);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, guarded<&Line::on_close>);
    nghttp2_session_callbacks_set_send_callback(callbacks, guarded<&Line::on_send>);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, guarded<&Line::on_send_data>);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_length);
    return callbacks;
  }();
  return made;
}

void Line::begin_session() {
  if (nghttp2_session_client_new(&session_, callbacks(), this) != 0) {
    throw std::bad_alloc();
  }
  const auto window = static_cast<std::uint32_t>(
      std::min<std::size_t>(max_message_bytes_ + 65536, static_cast<std::size_t>(kMaxWindow)));
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
  };
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) != 0 ||
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(window)) != 0) {
    throw std::bad_alloc();
  }
}

bool Line::usable() {
  if (broken_ || !ended_) {
    return false;
  }
  read();
  if (!broken_ && nghttp2_session_want_write(session_) != 0) {
    write();
  }
  return !broken_ && !going_away_ && nghttp2_session_check_request_allowed(session_) != 0;
}

bool Line::start(const Request& request, GetRoom room, std::int64_t deadline_ns, const Interrupted& interrupted) {
  reply_ = {};
  ended_ = has_status_ = is_grpc_ = false;
  http_status_ = 0;
  answer_prefix_bytes_ = answer_bytes_ = answered_ = frame_left_ = trailer_bytes_ = 0;
  answer_ = nullptr;
  room_ = std::move(room);
  std::size_t size = 0;
  for (const Part& part : request.parts) {
    size += part.size;
  }
  prefix_.assign(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    prefix_.push_back(static_cast<char>(size >> shift));
  }
  total_ = prefix_.size() + size;
  given_ = viewed_ = part_ = part_at_ = 0;
  request_ = &request;
  std::vector<nghttp2_nv> fields{field(":method", "POST"),
                                 field(":scheme", "http"),
                                 field(":path", request.path),
                                 field(":authority", request.authority),
                                 field("te", "trailers"),
                                 field("content-type", "application/grpc"),
                                 field("user-agent", "rowbank-native")};
  if (!request.timeout.empty()) {
    fields.push_back(field("grpc-timeout", request.timeout));
  }
  for (const auto& [name, value] : request.metadata) {
    fields.push_back(field(name, value));
  }
  nghttp2_data_provider provider{};
  provider.source.ptr = this;
  provider.read_callback = read_request;
  stream_ = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
  if (stream_ < 0) {
    stream_ = 0;
    ended_ = true;
    reply_.ending = Ending::kUnsent;
    reply_.text = "no more calls can be made over this connection";
    request_ = nullptr;
    return true;
  }
  const bool written =
      pump([this] { return ended_ || (viewed_ == total_ && pieces_.empty()); }, deadline_ns, interrupted);
  request_ = nullptr;
  if (ended_ && (viewed_ < total_ || !pieces_.empty())) {
    break_off("the server answered before it had the request");  // What is left of that may be gone soon.
  }
  return written;
}

bool Line::finish(std::int64_t deadline_ns, const Interrupted& interrupted) {
  return pump([this] { return ended_; }, deadline_ns, interrupted);
}

void Line::end_call() {
  room_ = nullptr;
  answer_ = nullptr;
}

bool Line::pump(const std::function<bool()>& done, std::int64_t deadline_ns, const Interrupted& interrupted) {
  while (!done()) {
    if (!broken_) {
      write();
    }
    if (!broken_) {
      read();
    }
    if (broken_) {
      break;
    }
    if (done()) {
      return true;
    }
    if (pieces_.empty()) {
      if (nghttp2_session_want_write(session_) != 0) {
        continue;  // What was read has something to be said about.
      }
      if (nghttp2_session_want_read(session_) == 0) {
        break_off("what the server sent is no HTTP/2");  // nghttp2 has told it so.
        continue;
      }
    }
    bool timed_out = false;
    if (!wait(!pieces_.empty(), deadline_ns, interrupted, &timed_out)) {
      return false;
    }
  }
  if (broken_ && !ended_) {
    ended_ = true;
    const bool written = viewed_ == total_ && pieces_.empty();
    const bool passed_over = going_away_ && stream_ > last_stream_;
    reply_.ending = written && !passed_over ? Ending::kLost : Ending::kUnsent;
    reply_.text = why_;
  }
  return true;
}

bool Line::wait(bool for_writing, std::int64_t deadline_ns, const Interrupted& interrupted, bool* timed_out) {
  while (true) {
    const std::int64_t left = deadline_ns - now_ns();
    if (left <= 0) {
      *timed_out = true;
      return false;
    }
    pollfd waited{socket_, static_cast<short>(POLLIN | (for_writing ? POLLOUT : 0)), 0};
    const std::int64_t slice = std::min(left, kSliceNs);
    const timespec timeout{slice / 1'000'000'000, slice % 1'000'000'000};
    const int ready = ::ppoll(&waited, 1, &timeout, nullptr);
    if (ready > 0) {
      return true;
    }
    if (interrupted()) {
      return false;
    }
    if (broken_) {
      return true;  // A signal's handler has forked, and this is the child.
    }
  }
}

bool Line::fill() {
  if (control_.size() > kMostControlBytes) {
    return true;  // nghttp2 keeps the rest, and ends a connection that makes it keep too much.
  }
  if (nghttp2_session_send(session_) != 0) {
    break_off("the connection cannot be written to");
    return false;
  }
  return true;
}

bool Line::write() {
  while (fill() && !pieces_.empty()) {
    iovec parts[64];
    std::size_t count = 0;
    for (std::size_t i = next_piece_; i < pieces_.size() && count < 64; ++i) {
      const Piece& piece = pieces_[i];
      const char* data = piece.data == nullptr ? control_.data() + piece.at : piece.data;
      const std::size_t skipped = i == next_piece_ ? piece_written_ : 0;
      parts[count++] = {const_cast<char*>(data) + skipped, piece.size - skipped};
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t got = ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        const int error = errno;
        read();  // What the server said before it went.
        break_off(std::strerror(error));
      }
      return !broken_;
    }
    std::size_t written = static_cast<std::size_t>(got);
    while (written > 0) {
      const std::size_t left = pieces_[next_piece_].size - piece_written_;
      const std::size_t taken = std::min(left, written);
      written -= taken;
      piece_written_ += taken;
      if (taken == left) {
        ++next_piece_;
        piece_written_ = 0;
      }
    }
    if (next_piece_ == pieces_.size()) {
      pieces_.clear();
      control_.clear();
      next_piece_ = 0;
      queued_ = 0;
    }
  }
  return !broken_;
}

bool Line::read() {
  constexpr std::size_t kScratch = std::size_t{256} << 10;
  thread_local const std::unique_ptr<char[]> scratch(new char[kScratch]);
  while (!broken_) {
    const Room room = answer_room();
    iovec into[2] = {{room.data, room.size}, {scratch.get(), kScratch}};
    msghdr message{};
    message.msg_iov = into + (room.size == 0);
    message.msg_iovlen = room.size == 0 ? 1 : 2;
    const ssize_t got = ::recvmsg(socket_, &message, MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        break_off(std::strerror(errno));
      }
      return !broken_;
    }
    if (got == 0) {
      break_off("the server closed the connection");
      return false;
    }
    const auto size = static_cast<std::size_t>(got);
    const std::size_t in_place = std::min(size, room.size);
    if ((in_place > 0 && !feed(room.data, in_place)) || (size > in_place && !feed(scratch.get(), size - in_place))) {
      return false;
    }
    if (size < room.size + kScratch) {
      return true;
    }
  }
  return false;
}

Line::Room Line::answer_room() const {
  if (answer_ == nullptr || ended_) {
    return {nullptr, 0};
  }
  return {answer_ + answered_, std::min(frame_left_, answer_bytes_ - answered_)};
}

bool Line::feed(const char* data, std::size_t size) {
  const auto taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(data), size);
  if (taken != static_cast<ssize_t>(size)) {
    break_off("what the server sent is no HTTP/2");
  }
  return !broken_;
}

void Line::break_off(const std::string& why) {
  if (!broken_) {
    broken_ = true;
    why_ = why;
  }
}

ssize_t Line::read_request(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                           nghttp2_data_source* source, void*) {
  auto* me = static_cast<Line*>(source->ptr);
  const std::size_t taken = std::min(size, me->total_ - me->given_);
  me->given_ += taken;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (me->given_ == me->total_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  }
  return static_cast<ssize_t>(taken);
}

int Line::on_send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t size,
                       nghttp2_data_source* source, void*) {
  constexpr std::size_t kFrameHeaderBytes = 9;
  auto* me = static_cast<Line*>(source->ptr);
  if (me->request_ == nullptr || frame->hd.stream_id != me->stream_) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  on_send(nullptr, header, kFrameHeaderBytes, 0, me);
  me->view(size);
  return 0;
}

void Line::view(std::size_t size) {
  if (viewed_ < prefix_.size()) {
    const std::size_t taken = std::min(size, prefix_.size() - viewed_);
    on_send(nullptr, reinterpret_cast<const std::uint8_t*>(prefix_.data()) + viewed_, taken, 0, this);
    viewed_ += taken;
    size -= taken;
  }
  while (size > 0) {
    const Part& part = request_->parts[part_];
    const std::size_t taken = std::min(size, part.size - part_at_);
    if (taken > 0) {
      pieces_.push_back({part.data + part_at_, 0, taken});
    }
    part_at_ += taken;
    viewed_ += taken;
    size -= taken;
    if (part_at_ == part.size) {
      ++part_;
      part_at_ = 0;
    }
  }
}

ssize_t Line::on_send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int, void* self) {
  auto* me = static_cast<Line*>(self);
  const std::size_t at = me->control_.size();
  me->control_.append(reinterpret_cast<const char*>(data), size);
  if (!me->pieces_.empty() && me->pieces_.back().data == nullptr) {
    me->pieces_.back().size += size;
  } else {
    me->pieces_.push_back({nullptr, at, size});
  }
  return static_cast<ssize_t>(size);
}

ssize_t Line::on_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t session_window,
                        std::int32_t stream_window, std::uint32_t max_frame, void*) {
  constexpr std::int32_t kLongest = 1 << 20;
  return std::min({kLongest, session_window, stream_window, static_cast<std::int32_t>(max_frame)});
}

}  // namespace rowbank::wire
