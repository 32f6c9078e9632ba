// Listens, and lets threads take calls from connections and answer them.
//
// Problem: handing a call from the thread that reads to one that works, and its answer back, costs more than a small
// call's work. Idea: all threads wait for all connections; whichever gets a connection reads from it, works on the call
// that it finds, and writes the answer. Limit: a connection with several calls at once hands all but one of them on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "call.h"
#include "connection.h"
#include "intake.h"

namespace rowbank::wire {

struct EndpointOptions {
  std::vector<std::string> methods;  // Paths.
  std::string unknown_method;        // What is said of others.
  std::string server_id;
  std::size_t max_message_bytes = 0;
  std::size_t max_answer_bytes = 0;
  std::uint32_t max_streams = 100;
  std::size_t max_connections = 0;
  std::size_t max_arriving = 0;          // Of all together,
  std::size_t max_arriving_a_place = 0;  // and from one place.
  std::int64_t message_timeout_ns = 0;
};

// Works on calls. Its methods are called by the endpoint's threads.
class Worker {
 public:
  virtual ~Worker() = default;
  // Answers the call by `Endpoint::answer`, now or later.
  virtual void work(std::shared_ptr<Call> call) = 0;
  virtual Room allocate(std::size_t method, std::size_t bytes) = 0;
  virtual Answer refusal(Refusal why) = 0;
  // Called with the connection locked, once the headers of a call are whole: as `Rules::look`.
  virtual std::optional<Answer> look(const std::string& path, const std::shared_ptr<Call>& call) = 0;
};

struct EndpointCounts {
  std::uint64_t connections = 0;  // Now.
  std::uint64_t refused[kRefusals] = {};
};

// Thread-safe.
class Endpoint : private Rules {
 public:
  Endpoint(EndpointOptions options, Worker* worker);
  ~Endpoint() override;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // Listens on HOST:PORT of numbers, or unix:PATH; returns the address with its port. Throws std::system_error.
  std::string listen(const std::string& host, int port);
  std::string listen_unix(const std::string& path);

  // What a thread does until `stop`.
  void serve();
  // How many threads wait for something to do.
  int waiting() const { return waiting_.load(std::memory_order_relaxed); }
  void answer(const Call& call, Answer answer);
  // Ends calls that arrive too slowly; to be called now and then.
  void sweep();
  // Takes no new connections, and no new calls on those that there are.
  void say_goodbye();
  // Calls that arrive, wait or are worked on, and connections with something left to write.
  std::size_t unfinished();
  // Ends all connections and lets threads leave `serve`.
  void stop();
  EndpointCounts counts() const;

 private:
  int method_of(const std::string& path, std::string* text) const override;
  Room allocate(std::size_t method, std::size_t bytes) override { return worker_->allocate(method, bytes); }
  std::optional<Answer> look(const std::string& path, const std::shared_ptr<Call>& call,
                             const std::shared_ptr<Connection>& connection) override;
  std::uint64_t may_arrive(const std::shared_ptr<Connection>& connection, std::int32_t stream) override;
  void arrived(std::uint64_t arrival, bool whole) override { intake_.end(arrival, whole); }
  Answer refusal(Refusal why) override;

  void start_listening(int socket);
  void accept();
  // Takes a new connection in; false: there is no memory for it, and it is closed.
  bool admit(int socket, std::string peer);
  void listen_again();
  void stop_listening();
  void attend(int socket, std::uint32_t events, char* scratch);
  void rearm(Connection& connection);
  void drop(const std::shared_ptr<Connection>& connection);
  // Runs it; where there is no memory, the connection is ended, so that its callers do not wait in vain.
  template <typename Step>
  void or_drop(const std::shared_ptr<Connection>& connection, Step step);
  void work(std::shared_ptr<Call> call);
  std::shared_ptr<Call> next_ready();
  void end_displaced();
  void flush_or_drop(const std::shared_ptr<Connection>& connection);
  void hand_on(std::vector<std::shared_ptr<Call>> calls);
  std::vector<std::shared_ptr<Connection>> all();

  const EndpointOptions options_;
  std::unordered_map<std::string, std::size_t> methods_;
  Worker* const worker_;
  Intake intake_;
  int epoll_ = -1;
  int listener_ = -1;
  int wake_ = -1;
  bool is_unix_ = false;
  std::string path_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> leaving_{false};
  std::atomic<bool> out_of_files_{false};
  std::atomic<int> waiting_{0};
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<std::uint64_t> refused_[kRefusals] = {};

  mutable std::mutex mutex_;  // Of what follows. Taken after a connection's, if both are.
  std::unordered_map<int, std::shared_ptr<Connection>> connections_;
  std::deque<std::shared_ptr<Call>> ready_;
};

}  // namespace rowbank::wire
