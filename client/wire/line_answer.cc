// What comes back over a line: headers, a message, and how the call ended.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "line.h"

namespace rowbank::wire {
namespace {

constexpr std::size_t kMostTrailerBytes = std::size_t{64} << 10;
constexpr int kOk = 0;
constexpr int kUnknown = 2;
constexpr int kResourceExhausted = 8;
constexpr int kInternal = 13;

// A status as gRPC's header has it; what is no number stands for a failure.
int status_of(std::string_view text) {
  int status = kUnknown;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  return error == std::errc() && end == text.data() + text.size() && status >= 0 ? status : kUnknown;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// What gRPC takes an HTTP status for where there is no other.
int status_of_http(int http) {
  switch (http) {
    case 400:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}

}  // namespace

int Line::on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* self) {
  auto* me = static_cast<Line*>(self);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->hd.stream_id != me->stream_ || me->ended_) {
    return 0;
  }
  const std::string_view key(reinterpret_cast<const char*>(name), name_size);
  const std::string text(reinterpret_cast<const char*>(value), value_size);
  me->trailer_bytes_ += name_size + value_size;
  if (me->trailer_bytes_ > kMostTrailerBytes) {
    me->give_up_on_answer("the answer's metadata is larger than " + std::to_string(kMostTrailerBytes) + " bytes",
                          kResourceExhausted);
  } else if (key == ":status") {
    me->http_status_ = std::atoi(text.c_str());
  } else if (key == "grpc-status") {
    me->has_status_ = true;
    me->reply_.status = status_of(text);
  } else if (key == "grpc-message") {
    me->reply_.text = percent_decoded(text);
  } else if (key == "content-type") {
    me->is_grpc_ = text.compare(0, 16, "application/grpc") == 0;
  } else if (!key.empty() && key[0] != ':' && key != "grpc-accept-encoding" && key != "accept-encoding" &&
             key != "grpc-encoding") {
    me->reply_.trailers.emplace_back(key, text);
  }
  return 0;
}

int Line::on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
  auto* me = static_cast<Line*>(self);
  if (frame->hd.type == NGHTTP2_SETTINGS) {
    me->greeted_ = true;
  } else if (frame->hd.type == NGHTTP2_GOAWAY) {
    me->going_away_ = true;
    me->last_stream_ = frame->goaway.last_stream_id;
  } else if (frame->hd.stream_id == me->stream_ && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !me->ended_) {
    me->settle(NGHTTP2_NO_ERROR);
  }
  return 0;
}

int Line::on_frame_begin(nghttp2_session*, const nghttp2_frame_hd* header, void* self) {
  constexpr std::uint8_t kPlain = NGHTTP2_FLAG_END_STREAM;  // Padding would lie among the answer's bytes.
  auto* me = static_cast<Line*>(self);
  const bool is_answer = header->type == NGHTTP2_DATA && header->stream_id == me->stream_ && !me->ended_;
  me->frame_left_ = is_answer && (header->flags & ~kPlain) == 0 ? header->length : 0;
  return 0;
}

int Line::on_data(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size,
                  void* self) {
  auto* me = static_cast<Line*>(self);
  if (stream == me->stream_ && !me->ended_) {
    me->frame_left_ -= std::min(me->frame_left_, size);
    me->take(reinterpret_cast<const char*>(data), size);
  }
  return 0;
}

void Line::take(const char* data, std::size_t size) {
  while (answer_prefix_bytes_ < sizeof answer_prefix_ && size > 0) {
    answer_prefix_[answer_prefix_bytes_++] = static_cast<std::uint8_t>(*data++);
    --size;
    if (answer_prefix_bytes_ == sizeof answer_prefix_) {
      const std::uint8_t* prefix = answer_prefix_;
      answer_bytes_ = static_cast<std::size_t>(prefix[1]) << 24 | static_cast<std::size_t>(prefix[2]) << 16 |
                      static_cast<std::size_t>(prefix[3]) << 8 | prefix[4];
      if (prefix[0] != 0) {
        give_up_on_answer("the answer is compressed, which was not asked for", kInternal);
      } else if (answer_bytes_ > max_message_bytes_) {
        give_up_on_answer("Received message larger than max (" + std::to_string(answer_bytes_) + " vs. " +
                              std::to_string(max_message_bytes_) + ")",
                          kResourceExhausted);
      } else if ((answer_ = room_(answer_bytes_)) == nullptr) {
        give_up_on_answer("no memory could be had for the answer", kResourceExhausted);
      }
      if (ended_) {
        return;
      }
    }
  }
  if (size > answer_bytes_ - answered_) {
    give_up_on_answer("the answer has more than one message", kInternal);
    return;
  }
  if (size > 0 && data != answer_ + answered_) {
    std::memcpy(answer_ + answered_, data, size);
  }
  answered_ += size;
}

void Line::give_up_on_answer(std::string why, int status) {
  reply_.ending = Ending::kAnswered;
  reply_.status = status;
  reply_.text = std::move(why);
  reply_.trailers.clear();
  ended_ = true;
  break_off(reply_.text);  // Whatever else the server says would have to be read to be passed over.
}

int Line::on_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self) {
  auto* me = static_cast<Line*>(self);
  if (stream == me->stream_ && !me->ended_) {
    me->settle(code);
  }
  return 0;
}

void Line::settle(std::uint32_t code) {
  ended_ = true;
  const bool is_whole = answer_prefix_bytes_ == sizeof answer_prefix_ && answered_ == answer_bytes_;
  if (!has_status_ && (code == NGHTTP2_REFUSED_STREAM || (going_away_ && stream_ > last_stream_))) {
    reply_.ending = Ending::kUnsent;
    reply_.text = "the server took no more calls over this connection";
    return;
  }
  if (!has_status_ && (http_status_ == 0 || code != NGHTTP2_NO_ERROR)) {
    reply_.ending = Ending::kLost;
    reply_.text = "the server ended the call without an answer (HTTP/2 error " + std::to_string(code) + ")";
    return;
  }
  reply_.ending = Ending::kAnswered;
  const bool is_grpc = is_grpc_ && http_status_ == 200;
  if (!has_status_ || (reply_.status == kOk && !is_grpc)) {
    reply_.status = is_grpc ? kInternal : status_of_http(http_status_);
    reply_.text = "the answer has no gRPC status (HTTP status " + std::to_string(http_status_) + ")";
  } else if (reply_.status == kOk && !is_whole) {
    reply_.status = kInternal;
    reply_.text = "the answer is not one whole message";
  }
  reply_.has_message = reply_.status == kOk;
}

}  // namespace rowbank::wire
