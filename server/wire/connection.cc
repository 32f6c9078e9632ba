#include "connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "stream.h"

namespace rowbank::wire {
namespace {

constexpr std::uint32_t kMaxFrame = (1U << 24) - 1;  // The most that HTTP/2 has.
constexpr std::uint32_t kResetsASecond = 200;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int32_t kMaxWindow = 0x7FFFFFFF;

// gRPC's "100m": at most eight digits and a unit. 0: it is none.
std::int64_t timeout_ns(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) {
    return 0;
  }
  std::int64_t number = 0;
  const char* end = text.data() + text.size() - 1;
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number < 0) {
    return 0;
  }
  number = std::max<std::int64_t>(number, 1);
  switch (*end) {
    case 'n':
      return number;
    case 'u':
      return number * 1'000;
    case 'm':
      return number * 1'000'000;
    case 'S':
      return number * kSecond;
    case 'M':
      return number * 60 * kSecond;
    case 'H':
      return std::min<std::int64_t>(number, 2'000'000) * 3600 * kSecond;
    default:
      return 0;
  }
}

// What gRPC lets metadata have.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// What HTTP and gRPC say for themselves.
bool is_plumbing(std::string_view name) {
  return name == "te" || name == "content-type" || name == "grpc-accept-encoding" || name == "grpc-encoding" ||
         name == "accept-encoding" || name == "grpc-timeout" || name == "content-length" ||
         name == "rowbank-server-id" || name == "grpc-message-type";
}

}  // namespace

Connection::Connection(int socket, std::string peer, Rules* rules)
    : socket_(socket), peer_(std::move(peer)), rules_(rules), began_ns_(steady_ns()) {}

Connection::~Connection() {
  close();
  ::close(socket_);
}

nghttp2_session_callbacks* Connection::callbacks() {
  static nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
      return static_cast<nghttp2_session_callbacks*>(nullptr);
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, guarded_call<&Connection::on_begin_headers>);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, guarded_call<&Connection::on_header>);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, guarded_call<&Connection::on_frame>);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, guarded_call<&Connection::on_data>);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, guarded_call<&Connection::on_stream_close>);
    nghttp2_session_callbacks_set_send_callback(callbacks, guarded_call<&Connection::on_send>);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, guarded_call<&Connection::on_send_data>);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_length);
    return callbacks;
  }();
  return made;
}

bool Connection::open() {
  if (callbacks() == nullptr || nghttp2_session_server_new(&session_, callbacks(), this) != 0) {
    return false;
  }
  const auto window = static_cast<std::uint32_t>(
      std::min<std::size_t>(rules_->max_message_bytes + (std::size_t{1} << 16), static_cast<std::size_t>(kMaxWindow)));
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, rules_->max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, rules_->max_header_bytes},
  };
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) != 0 ||
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(window)) != 0) {
    return false;
  }
  return flush();
}

bool Connection::receive(char* scratch, std::size_t size, std::vector<std::shared_ptr<Call>>* complete) {
  complete_ = complete;
  bool alive = true;
  while (alive && complete->empty()) {
    const ssize_t got = ::recv(socket_, scratch, size, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      break;
    }
    if (got <= 0) {
      alive = false;
      break;
    }
    const ssize_t taken =
        nghttp2_session_mem_recv(session_, reinterpret_cast<std::uint8_t*>(scratch), static_cast<std::size_t>(got));
    alive = taken == got;
    if (static_cast<std::size_t>(got) < size) {
      break;  // The socket was emptied; if not, it is ready again at once.
    }
  }
  complete_ = nullptr;
  // What nghttp2 wants to say about it, a GOAWAY for nonsense included.
  const bool flushed = flush();
  return alive && flushed &&
         (nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0 || !outbox_.empty());
}

void Connection::answer(const Call& call, Answer answer) {
  if (closed_) {
    return;
  }
  Stream* stream = find(call.stream);
  if (stream == nullptr || stream->call.get() != &call) {
    return;
  }
  if (answer.status == 0 && answer.message.size > rules_->max_answer_bytes) {
    refuse(stream, Status::kResourceExhausted,
           "Sent message larger than max (" + std::to_string(answer.message.size) + " vs. " +
               std::to_string(rules_->max_answer_bytes) + ")");
    return;
  }
  if (answer.status != 0) {
    submit_trailers_only(stream, answer);
    return;
  }
  stream->answer = std::move(answer);
  submit_message(stream);
}

bool Connection::flush() {
  if (closed_) {
    return false;
  }
  while (true) {
    if (nghttp2_session_send(session_) != 0) {
      return false;
    }
    if (outbox_.empty()) {
      return true;
    }
    switch (outbox_.write(socket_)) {
      case Outbox::Written::kAll:
        if (nghttp2_session_want_write(session_) == 0) {
          return true;
        }
        if (nghttp2_session_send(session_) != 0) {
          return false;
        }
        if (outbox_.empty()) {
          return true;  // What is left waits for the peer's window.
        }
        break;
      case Outbox::Written::kBlocked:
        return true;
      case Outbox::Written::kBroken:
        return false;
    }
  }
}

void Connection::say_goodbye() {
  if (!closed_) {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                          NGHTTP2_NO_ERROR, nullptr, 0);
    flush();
  }
}

void Connection::drop_slow(std::int64_t before_ns, std::size_t* dropped) {
  for (auto& [id, stream] : streams_) {
    if (stream->handed_on || stream->began_ns >= before_ns) {
      continue;
    }
    if (stream->stopped) {
      continue;  // It was told already, and reads nothing either.
    }
    *dropped += 1;
    if (stream->refused) {  // And goes on sending.
      stream->stopped = true;
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    } else {
      refuse(stream.get(), rules_->refusal(Refusal::kSlow));
    }
  }
}

bool Connection::is_stuck(std::int64_t now_ns, std::int64_t timeout_ns) {
  if (!has_unsent() || outbox_.written() != written_) {
    written_ = outbox_.written();
    still_since_ns_ = now_ns;
  }
  return now_ns - still_since_ns_ > timeout_ns;
}

void Connection::close() {
  if (closed_) {
    return;
  }
  closed_ = true;
  for (auto& [id, stream] : streams_) {
    end_arrival(stream.get());
    stream->call->gone.store(true, std::memory_order_relaxed);
  }
  streams_.clear();
  if (session_ != nullptr) {
    nghttp2_session_del(session_);
    session_ = nullptr;
  }
  ::shutdown(socket_, SHUT_RDWR);
}

Connection::Stream* Connection::find(std::int32_t stream) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second.get();
}

int Connection::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto* me = static_cast<Connection*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    return 0;
  }
  auto stream = std::make_unique<Stream>();
  stream->id = frame->hd.stream_id;
  stream->began_ns = steady_ns();
  stream->call = std::make_shared<Call>();
  stream->call->stream = stream->id;
  me->streams_[stream->id] = std::move(stream);
  return 0;
}

int Connection::on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                          const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
  auto* me = static_cast<Connection*>(self);
  Stream* stream = me->find(frame->hd.stream_id);
  if (stream == nullptr || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    return 0;
  }
  constexpr std::size_t kFieldBytes = 32;  // What HTTP/2 counts for each field beside its name and value.
  stream->header_bytes += name_size + value_size + kFieldBytes;
  if (stream->header_bytes > me->rules_->max_header_bytes) {
    return 0;  // It is refused once it is whole.
  }
  const std::string_view key(reinterpret_cast<const char*>(name), name_size);
  const std::string_view text(reinterpret_cast<const char*>(value), value_size);
  if (key == ":path") {
    stream->path = text;
  } else if (key == ":method") {
    stream->method = text;
  } else if (key == "content-type") {
    stream->content_type = text;
  } else if (key == "grpc-encoding") {
    stream->encoding = text;
  } else if (key == "rowbank-server-id") {
    stream->server_id = text;
  } else if (key == "grpc-timeout") {
    const std::int64_t left = timeout_ns(text);
    stream->call->deadline_ns = left == 0 ? 0 : stream->began_ns + left;
  } else if (!key.empty() && key[0] != ':' && !is_plumbing(key)) {
    stream->odd_header = stream->odd_header || !is_printable(text);
    stream->call->metadata.emplace_back(key, text);
  }
  return 0;
}

int Connection::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto* me = static_cast<Connection*>(self);
  me->greeted_ = true;
  if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
    return 0;
  }
  Stream* stream = me->find(frame->hd.stream_id);
  if (stream == nullptr) {
    return 0;
  }
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    me->begin(stream);
  }
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && stream->begun && !stream->refused) {
    me->complete(stream);
  }
  return 0;
}

int Connection::on_data(nghttp2_session*, std::uint8_t, std::int32_t stream_id, const std::uint8_t* data,
                        std::size_t size, void* self) {
  auto* me = static_cast<Connection*>(self);
  Stream* stream = me->find(stream_id);
  if (stream != nullptr && stream->begun && !stream->refused) {
    me->take(stream, reinterpret_cast<const char*>(data), size);
  }
  return 0;
}

int Connection::on_stream_close(nghttp2_session*, std::int32_t stream_id, std::uint32_t code, void* self) {
  auto* me = static_cast<Connection*>(self);
  const auto found = me->streams_.find(stream_id);
  if (found != me->streams_.end()) {
    Stream* stream = found->second.get();
    me->end_arrival(stream);
    me->forget_answer(stream);
    stream->call->gone.store(true, std::memory_order_relaxed);
    me->streams_.erase(found);
  }
  if (code == NGHTTP2_NO_ERROR) {
    return 0;
  }
  // Calls that are begun and given up at once cost us more than them.
  const std::int64_t now = steady_ns();
  if (now - me->resets_since_ns_ > kSecond) {
    me->resets_since_ns_ = now;
    me->resets_ = 0;
  }
  return ++me->resets_ > kResetsASecond ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void Connection::forget_answer(Stream* stream) {
  const std::size_t sent = stream->sent < kPrefixBytes ? 0 : stream->sent - kPrefixBytes;
  unsent_ -= stream->answer.message.size - sent;
}

}  // namespace rowbank::wire
