// The way out: what nghttp2 is given to send, and where it puts it.
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "connection.h"
#include "stream.h"

namespace rowbank::wire {
namespace {

constexpr std::int32_t kLongestFrame = 1 << 20;

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

// Status, text and whatever else goes at the end. The views are of `status` and `answer`.
std::vector<nghttp2_nv> trailers_of(const std::string& status, const Answer& answer) {
  std::vector<nghttp2_nv> fields{header("grpc-status", status)};
  if (!answer.text.empty()) {
    fields.push_back(header("grpc-message", answer.text));
  }
  for (const auto& [name, value] : answer.trailers) {
    fields.push_back(header(name, value));
  }
  return fields;
}

// As gRPC has it: what is not printable ASCII, and the percent sign, as %XX.
std::string percent_encoded(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

}  // namespace

void Connection::refuse(Stream* stream, Status status, const std::string& text) {
  Answer answer;
  answer.status = static_cast<int>(status);
  answer.text = percent_encoded(text);
  refuse(stream, answer);
}

void Connection::refuse(Stream* stream, const Answer& answer) {
  end_arrival(stream);
  stream->refused = true;
  stream->call->body = {};
  // What still arrives of the request is read past: a peer that is told to stop may miss why.
  submit_trailers_only(stream, answer);
}

void Connection::refuse_http(Stream* stream, const char* code, const std::string& text) {
  stream->refused = true;
  const std::string status = "2";
  const std::string shown = percent_encoded(text);
  const std::array<nghttp2_nv, 4> fields{header(":status", code), header("content-type", "application/grpc"),
                                         header("grpc-status", status), header("grpc-message", shown)};
  nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), nullptr);
}

void Connection::submit_trailers_only(Stream* stream, const Answer& answer) {
  const std::string status = std::to_string(answer.status);
  std::vector<nghttp2_nv> fields{header(":status", "200"), header("content-type", "application/grpc"),
                                 header("grpc-accept-encoding", "identity")};
  const std::vector<nghttp2_nv> trailers = trailers_of(status, answer);
  fields.insert(fields.end(), trailers.begin(), trailers.end());
  nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), nullptr);
}

void Connection::submit_message(Stream* stream) {
  const std::size_t size = stream->answer.message.size;
  unsent_ += size;
  stream->answer_prefix[0] = 0;
  for (int byte = 0; byte < 4; ++byte) {
    stream->answer_prefix[1 + byte] = static_cast<std::uint8_t>(size >> (24 - 8 * byte));
  }
  const std::array<nghttp2_nv, 3> fields{header(":status", "200"), header("content-type", "application/grpc"),
                                         header("grpc-accept-encoding", "identity")};
  nghttp2_data_provider provider{};
  provider.source.ptr = stream;
  provider.read_callback = read_answer;
  nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), &provider);
}

ssize_t Connection::read_answer(nghttp2_session* session, std::int32_t stream_id, std::uint8_t*, std::size_t size,
                                std::uint32_t* flags, nghttp2_data_source* source, void*) {
  auto* stream = static_cast<Stream*>(source->ptr);
  const std::size_t left = kPrefixBytes + stream->answer.message.size - stream->sent;
  const std::size_t taken = std::min(size, left);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (taken == left) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const std::string status = "0";
    const std::vector<nghttp2_nv> trailers = trailers_of(status, stream->answer);
    if (nghttp2_submit_trailer(session, stream_id, trailers.data(), trailers.size()) != 0) {
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
  }
  return static_cast<ssize_t>(taken);
}

int Connection::on_send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* frame_header, std::size_t size,
                             nghttp2_data_source* source, void* self) {
  constexpr std::size_t kFrameHeaderBytes = 9;
  auto* me = static_cast<Connection*>(self);
  if (me->outbox_.bytes() > kQueuedBytes) {
    return NGHTTP2_ERR_WOULDBLOCK;
  }
  auto* stream = static_cast<Stream*>(source->ptr);
  me->outbox_.copy(frame_header, kFrameHeaderBytes);
  // No padding was asked for.
  (void)frame;
  if (stream->sent < kPrefixBytes) {
    const std::size_t taken = std::min(size, kPrefixBytes - stream->sent);
    me->outbox_.copy(stream->answer_prefix + stream->sent, taken);
    stream->sent += taken;
    size -= taken;
  }
  const SharedBytes& message = stream->answer.message;
  me->outbox_.view(message.data + (stream->sent - kPrefixBytes), size, message.owner);
  stream->sent += size;
  me->unsent_ -= size;
  return 0;
}

ssize_t Connection::on_send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int, void* self) {
  auto* me = static_cast<Connection*>(self);
  if (me->outbox_.bytes() > kQueuedBytes) {
    return NGHTTP2_ERR_WOULDBLOCK;
  }
  me->outbox_.copy(data, size);
  return static_cast<ssize_t>(size);
}

ssize_t Connection::on_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t session_window,
                              std::int32_t stream_window, std::uint32_t max_frame, void*) {
  return std::min({kLongestFrame, session_window, stream_window, static_cast<std::int32_t>(max_frame)});
}

}  // namespace rowbank::wire
