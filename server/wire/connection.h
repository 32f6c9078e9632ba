// One connection: HTTP/2 as nghttp2 frames it, and gRPC's unary calls in it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "call.h"
#include "outbox.h"

namespace rowbank::wire {

// What all connections of an endpoint go by, and tell it.
class Rules {
 public:
  virtual ~Rules() = default;
  // The place of a method's path; -1: there is none. `text` then says what there is.
  virtual int method_of(const std::string& path, std::string* text) const = 0;
  // Memory for a request of a method whose size is known. Called with the connection locked.
  virtual Room allocate(std::size_t method, std::size_t bytes) = 0;
  // By a call's path and metadata alone: the answer where nothing of its request is to be read.
  virtual std::optional<Answer> look(const std::string& path, const std::shared_ptr<Call>& call,
                                     const std::shared_ptr<Connection>& connection) = 0;
  // A request begins to arrive; returns its name, or 0: there are too many. Then `arrived`, once: whether it is whole.
  virtual std::uint64_t may_arrive(const std::shared_ptr<Connection>& connection, std::int32_t stream) = 0;
  virtual void arrived(std::uint64_t arrival, bool whole) = 0;
  // What is answered without a look at the request, whole.
  virtual Answer refusal(Refusal why) = 0;

  std::string server_id;
  std::size_t max_message_bytes = 0;
  std::size_t max_answer_bytes = 0;
  std::uint32_t max_streams = 100;
  std::uint32_t max_header_bytes = 16 << 10;
};

// All methods but `peer` and `socket` ask for `mutex` to be held.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(int socket, std::string peer, Rules* rules);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  std::mutex mutex;
  int socket() const { return socket_; }
  const std::string& peer() const { return peer_; }

  // Says what the server expects; before anything is read.
  bool open();
  // Reads what there is, into `scratch` first. Returns false where the connection is over. Complete calls are appended.
  bool receive(char* scratch, std::size_t size, std::vector<std::shared_ptr<Call>>* complete);
  // Answers a call, unless its caller is gone.
  void answer(const Call& call, Answer answer);
  // Writes what there is. Returns false where the connection is over.
  bool flush();
  bool wants_write() const { return !outbox_.empty(); }
  // Whether the peer has not yet taken all that it was answered.
  bool has_unsent() const { return !outbox_.empty() || unsent_ > 0; }
  // Tells the peer to begin no more calls here.
  void say_goodbye();
  // Ends calls that began to arrive before `before_ns` and have not yet.
  void drop_slow(std::int64_t before_ns, std::size_t* dropped);
  // Whether its peer has taken nothing of what it was answered for so long. To be asked now and then.
  bool is_stuck(std::int64_t now_ns, std::int64_t timeout_ns);
  // Ends a call whose request has not arrived and gave way to another one.
  void drop_displaced(std::int32_t stream, std::uint64_t arrival);
  std::int64_t began_ns() const { return began_ns_; }
  // Whether the peer has said anything that makes sense.
  bool greeted() const { return greeted_; }
  // Ends it; calls under way learn that their caller is gone.
  void close();
  bool closed() const { return closed_; }

 private:
  struct Stream;

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t flags, void* self);
  static int on_frame(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_data(nghttp2_session*, std::uint8_t flags, std::int32_t stream, const std::uint8_t* data,
                     std::size_t size, void* self);
  static int on_stream_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self);
  static ssize_t on_send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int flags, void* self);
  static int on_send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header, std::size_t size,
                          nghttp2_data_source*, void* self);
  static ssize_t on_length(nghttp2_session*, std::uint8_t type, std::int32_t stream, std::int32_t session_window,
                           std::int32_t stream_window, std::uint32_t max_frame, void* self);
  static ssize_t read_answer(nghttp2_session*, std::int32_t stream, std::uint8_t* room, std::size_t size,
                             std::uint32_t* flags, nghttp2_data_source*, void* self);
  static nghttp2_session_callbacks* callbacks();
  // Exceptions may not pass through nghttp2, which is C. The only one that there is says that there is no memory.
  template <auto Callback, typename... Arguments>
  static auto guarded_call(Arguments... arguments) {
    try {
      return Callback(arguments...);
    } catch (const std::exception&) {
      return static_cast<decltype(Callback(arguments...))>(NGHTTP2_ERR_CALLBACK_FAILURE);
    }
  }

  Stream* find(std::int32_t stream) const;
  void begin(Stream* stream);
  bool take(Stream* stream, const char* data, std::size_t size);
  bool take_prefix(Stream* stream);
  bool make_room(Stream* stream, std::size_t least);
  void complete(Stream* stream);
  void refuse(Stream* stream, Status status, const std::string& text);
  void refuse(Stream* stream, const Answer& answer);
  void refuse_http(Stream* stream, const char* code, const std::string& text);
  void submit_trailers_only(Stream* stream, const Answer& answer);
  void submit_message(Stream* stream);
  void end_arrival(Stream* stream, bool whole = false);
  void forget_answer(Stream* stream);

  int socket_;
  const std::string peer_;
  Rules* const rules_;
  nghttp2_session* session_ = nullptr;
  Outbox outbox_;
  std::unordered_map<std::int32_t, std::unique_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Call>>* complete_ = nullptr;  // While it reads.
  std::size_t unsent_ = 0;                                  // Bytes of answers that wait for the peer to read.
  const std::int64_t began_ns_;
  std::uint64_t written_ = 0;                // When it was asked last whether it is stuck,
  std::int64_t still_since_ns_ = began_ns_;  // and since when that was so.
  std::int64_t resets_since_ns_ = 0;
  std::uint32_t resets_ = 0;
  bool greeted_ = false;
  bool closed_ = false;
};

}  // namespace rowbank::wire
