// One HTTP/2 connection to a gRPC server, for one unary call at a time.
//
// Problem: gRPC's own client hands each call to other threads and back, and copies messages on the way. Idea: the
// thread that makes a call writes the request from where it lies, and reads the answer into the room that the caller
// keeps. Limit: one call at a time; who makes more of them at once has more connections.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace rowbank::wire {

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct Part {
  const char* data;
  std::size_t size;
};

struct Request {
  std::string path;
  std::string authority;
  Pairs metadata;           // As it goes on the wire.
  std::string timeout;      // As `grpc-timeout` has it; empty: none.
  std::vector<Part> parts;  // Of the message; they stay where they are until the request is written.
};

// How a call ended.
enum class Ending {
  kAnswered,  // The server gave a status.
  kUnsent,    // The server has not worked on the request, and will not.
  kLost,      // The connection broke; nobody knows what became of the request.
};

struct Reply {
  Ending ending = Ending::kLost;
  int status = 2;    // If answered.
  std::string text;  // Of the status, decoded; else what went wrong.
  Pairs trailers;    // As they came.
  bool has_message = false;
};

// Not thread-safe.
class Line {
 public:
  // `room` is asked for memory for a message whose size is known; null: there is none.
  using GetRoom = std::function<char*(std::size_t)>;
  // Asked about ten times a second while a call waits; true: it is to stop at once.
  using Interrupted = std::function<bool()>;

  // Connects to HOST:PORT of numbers or unix:PATH and waits for the server's first word. Throws std::runtime_error.
  Line(const std::string& address, std::size_t max_message_bytes, std::int64_t deadline_ns,
       const Interrupted& interrupted);
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  // Whether another call may be made. Looks at what the server said since the last one.
  bool usable();
  // Writes a request. False: it was not written by the deadline, or it was interrupted.
  bool start(const Request& request, GetRoom room, std::int64_t deadline_ns, const Interrupted& interrupted);
  // Reads until the call has ended; false: it has not by the deadline, or it was interrupted.
  bool finish(std::int64_t deadline_ns, const Interrupted& interrupted);
  // How the call ended. REQUIRES: `finish` returned true.
  const Reply& reply() const { return reply_; }
  // Forgets what is kept of the call.
  void end_call();
  bool ended() const { return ended_; }
  // Breaks the connection, without a word.
  void abandon();
  // The same in a forked child, where another thread of the parent may have been in the middle of a call: its half-done
  // session is left as it is, for ever.
  void disown();

 private:
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t flags, void* self);
  static int on_frame(nghttp2_session*, const nghttp2_frame*, void* self);
  static int on_frame_begin(nghttp2_session*, const nghttp2_frame_hd*, void* self);
  static int on_data(nghttp2_session*, std::uint8_t flags, std::int32_t stream, const std::uint8_t* data,
                     std::size_t size, void* self);
  static int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* self);
  static ssize_t on_send(nghttp2_session*, const std::uint8_t* data, std::size_t size, int flags, void* self);
  static int on_send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header, std::size_t size,
                          nghttp2_data_source*, void* self);
  static ssize_t on_length(nghttp2_session*, std::uint8_t type, std::int32_t stream, std::int32_t session_window,
                           std::int32_t stream_window, std::uint32_t max_frame, void* self);
  static ssize_t read_request(nghttp2_session*, std::int32_t stream, std::uint8_t* room, std::size_t size,
                              std::uint32_t* flags, nghttp2_data_source*, void* self);
  static nghttp2_session_callbacks* callbacks();
  template <auto Callback, typename... Arguments>
  static auto guarded(Arguments... arguments) {
    try {
      return Callback(arguments...);
    } catch (const std::exception&) {
      return static_cast<decltype(Callback(arguments...))>(NGHTTP2_ERR_CALLBACK_FAILURE);
    }
  }

  struct Room {
    char* data;
    std::size_t size;
  };

  void begin_session();
  // Moves bytes both ways until `done`; false: not by the deadline, or interrupted. A broken connection is done.
  bool pump(const std::function<bool()>& done, std::int64_t deadline_ns, const Interrupted& interrupted);
  bool fill();
  bool write();
  bool read();
  bool wait(bool for_writing, std::int64_t deadline_ns, const Interrupted& interrupted, bool* timed_out);
  bool feed(const char* data, std::size_t size);
  // Where bytes of the answer may be read to, because that is where they belong; the size is 0 where that is not known.
  Room answer_room() const;
  void view(std::size_t size);
  void break_off(const std::string& why);
  void take(const char* data, std::size_t size);
  void give_up_on_answer(std::string why, int status);
  void settle(std::uint32_t code);

  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  std::size_t max_message_bytes_;
  bool broken_ = false;
  std::string why_;
  bool greeted_ = false;
  bool going_away_ = false;
  std::int32_t last_stream_ = 0;  // That the server works on, once it goes away.

  // What is to be written: bytes of `control_`, and views of the request's parts.
  struct Piece {
    const char* data;  // Null: of `control_`, from `at`.
    std::size_t at;
    std::size_t size;
  };
  std::string control_;
  std::vector<Piece> pieces_;
  std::size_t next_piece_ = 0;
  std::size_t piece_written_ = 0;
  std::size_t queued_ = 0;

  // The call.
  std::int32_t stream_ = 0;
  const Request* request_ = nullptr;
  std::string prefix_;
  std::size_t total_ = 0;  // Of prefix and message.
  std::size_t given_ = 0;  // To nghttp2.
  std::size_t viewed_ = 0;
  std::size_t part_ = 0;  // Where `viewed_` is.
  std::size_t part_at_ = 0;
  GetRoom room_;
  Reply reply_;
  bool ended_ = true;
  bool has_status_ = false;
  int http_status_ = 0;
  bool is_grpc_ = false;
  std::uint8_t answer_prefix_[5] = {};
  std::size_t answer_prefix_bytes_ = 0;
  std::size_t answer_bytes_ = 0;
  std::size_t answered_ = 0;
  char* answer_ = nullptr;
  std::size_t frame_left_ = 0;  // Bytes of the answer's DATA frame that have not come yet.
  std::size_t trailer_bytes_ = 0;
};

std::int64_t now_ns();

}  // namespace rowbank::wire
