#include "endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace rowbank::wire {
namespace {

constexpr std::size_t kScratchBytes = std::size_t{256} << 10;
constexpr int kKeepAliveS = 10;
constexpr int kGoneAfterMs = 25'000;
constexpr std::size_t kMappedPrefix = 12;  // Bytes before the IPv4 address in a mapped one.

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void set(int socket, int level, int name, int value) {
  ::setsockopt(socket, level, name, &value, sizeof value);
}

void set_up(int socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  // A peer that is gone without a word is noticed.
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveS);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveS / 2);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kGoneAfterMs);
}

// As gRPC writes addresses.
std::string peer_of(const sockaddr_storage& address, std::uint64_t number) {
  char host[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &four.sin_addr, host, sizeof host);
    return "ipv4:" + std::string(host) + ":" + std::to_string(ntohs(four.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {  // IPv4, on a socket that listens for both.
      ::inet_ntop(AF_INET, six.sin6_addr.s6_addr + kMappedPrefix, host, sizeof host);
      return "ipv4:" + std::string(host) + ":" + std::to_string(ntohs(six.sin6_port));
    }
    ::inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof host);
    return "ipv6:%5B" + std::string(host) + "%5D:" + std::to_string(ntohs(six.sin6_port));
  }
  return "unix:" + std::to_string(number);  // Each is a caller of its own.
}

}  // namespace

Endpoint::Endpoint(EndpointOptions options, Worker* worker)
    : options_(std::move(options)), worker_(worker), intake_(options_.max_arriving, options_.max_arriving_a_place) {
  server_id = options_.server_id;
  max_message_bytes = options_.max_message_bytes;
  max_answer_bytes = options_.max_answer_bytes;
  max_streams = options_.max_streams;
  for (std::size_t i = 0; i < options_.methods.size(); ++i) {
    methods_[options_.methods[i]] = i;
  }
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
  if (epoll_ < 0 || wake_ < 0) {
    fail("epoll");
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) {
    fail("epoll");
  }
}

Endpoint::~Endpoint() {
  stop();
  connections_.clear();
  if (listener_ >= 0) {
    ::close(listener_);
  }
  ::close(epoll_);
  ::close(wake_);
}

void Endpoint::serve() {
  const auto scratch = std::make_unique<char[]>(kScratchBytes);
  while (!leaving_.load(std::memory_order_relaxed)) {
    epoll_event event{};
    waiting_.fetch_add(1, std::memory_order_relaxed);
    const int count = ::epoll_wait(epoll_, &event, 1, -1);
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    if (count <= 0 || leaving_.load(std::memory_order_relaxed)) {
      continue;
    }
    if (event.data.fd == wake_) {
      std::uint64_t taken = 0;
      if (::read(wake_, &taken, sizeof taken) == sizeof taken) {
        if (auto call = next_ready()) {
          work(std::move(call));
        }
      }
    } else if (event.data.fd == listener_) {
      accept();
    } else {
      attend(event.data.fd, event.events, scratch.get());
    }
  }
}

void Endpoint::accept() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int socket = ::accept4(listener_, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) {
      if (errno == EINTR || errno == ECONNABORTED) {
        continue;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        out_of_files_.store(true);  // Who waits goes on waiting, until the next sweep.
        return;
      }
      break;
    }
    const std::uint64_t number = accepted_.fetch_add(1, std::memory_order_relaxed);
    if (!is_unix_) {
      set_up(socket);
    }
    if (!admit(socket, peer_of(address, number))) {
      out_of_files_.store(true);
      return;
    }
  }
  listen_again();
}

bool Endpoint::admit(int socket, std::string peer) {
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(socket, std::move(peer), static_cast<Rules*>(this));
  } catch (const std::bad_alloc&) {
    ::close(socket);
    return false;
  }
  or_drop(connection, [&] {
    // Whoever finds it among the others waits until it is open.
    const std::lock_guard<std::mutex> held(connection->mutex);
    {
      const std::lock_guard<std::mutex> locked(mutex_);
      if (connections_.size() >= options_.max_connections) {
        return;  // Closed as it goes.
      }
      connections_[socket] = connection;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.fd = socket;
    if (!connection->open() || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) {
      drop(connection);
    }
  });
  return true;
}

void Endpoint::listen_again() {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.fd = listener_;
  if (!stopping_.load(std::memory_order_relaxed)) {
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, listener_, &event);
  }
}

void Endpoint::attend(int socket, std::uint32_t events, char* scratch) {
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard<std::mutex> locked(mutex_);
    const auto found = connections_.find(socket);
    if (found == connections_.end()) {
      return;
    }
    connection = found->second;
  }
  std::vector<std::shared_ptr<Call>> calls;
  {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    bool alive = !connection->closed();
    if (alive && (events & EPOLLOUT) != 0) {
      alive = connection->flush();
    }
    if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
      alive = connection->receive(scratch, kScratchBytes, &calls);
    }
    if (alive) {
      rearm(*connection);
    } else {
      drop(connection);
    }
  }
  end_displaced();
  if (calls.empty()) {
    return;
  }
  auto first = std::move(calls.front());
  calls.erase(calls.begin());
  if (!calls.empty()) {
    or_drop(connection, [&] { hand_on(std::move(calls)); });
  }
  work(std::move(first));
}

void Endpoint::rearm(Connection& connection) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT | (connection.wants_write() ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  event.data.fd = connection.socket();
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket(), &event);
}

void Endpoint::drop(const std::shared_ptr<Connection>& connection) {
  connection->close();
  const std::lock_guard<std::mutex> locked(mutex_);
  const auto found = connections_.find(connection->socket());
  if (found != connections_.end() && found->second == connection) {
    connections_.erase(found);
  }
}

template <typename Step>
void Endpoint::or_drop(const std::shared_ptr<Connection>& connection, Step step) {
  try {
    step();
  } catch (const std::bad_alloc&) {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    drop(connection);
  }
}

void Endpoint::work(std::shared_ptr<Call> call) {
  const std::shared_ptr<Connection> connection = call->connection;
  or_drop(connection, [&] { worker_->work(std::move(call)); });
  intake_.worked();
}

void Endpoint::end_displaced() {
  for (const Intake::Displaced& one : intake_.take_displaced()) {
    if (const std::shared_ptr<Connection> connection = one.connection.lock()) {
      const std::lock_guard<std::mutex> locked(connection->mutex);
      if (!connection->closed()) {
        connection->drop_displaced(one.stream, one.id);
        flush_or_drop(connection);
      }
    }
  }
}

void Endpoint::flush_or_drop(const std::shared_ptr<Connection>& connection) {
  if (!connection->flush()) {
    drop(connection);
  } else if (connection->wants_write()) {
    rearm(*connection);
  }
}

void Endpoint::hand_on(std::vector<std::shared_ptr<Call>> calls) {
  const std::uint64_t count = calls.size();
  {
    const std::lock_guard<std::mutex> locked(mutex_);
    for (auto& call : calls) {
      ready_.push_back(std::move(call));
    }
  }
  [[maybe_unused]] const ssize_t written = ::write(wake_, &count, sizeof count);
}

std::shared_ptr<Call> Endpoint::next_ready() {
  const std::lock_guard<std::mutex> locked(mutex_);
  if (ready_.empty()) {
    return nullptr;
  }
  auto call = std::move(ready_.front());
  ready_.pop_front();
  return call;
}

void Endpoint::answer(const Call& call, Answer answer) {
  std::shared_ptr<Connection> connection = call.connection;
  if (connection == nullptr) {
    return;
  }
  const std::lock_guard<std::mutex> locked(connection->mutex);
  if (connection->closed()) {
    return;
  }
  connection->answer(call, std::move(answer));
  flush_or_drop(connection);
}

void Endpoint::sweep() {
  const std::int64_t now = steady_ns();
  const std::int64_t before = now - options_.message_timeout_ns;
  for (const auto& connection : all()) {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    if (connection->closed()) {
      continue;
    }
    std::size_t dropped = 0;
    connection->drop_slow(before, &dropped);
    const bool stuck = connection->is_stuck(now, options_.message_timeout_ns);
    refused_[static_cast<std::size_t>(Refusal::kSlow)] += stuck ? 1 : 0;
    if (stuck || (!connection->greeted() && connection->began_ns() < before)) {
      drop(connection);
    } else if (dropped > 0) {
      flush_or_drop(connection);
    }
  }
  if (out_of_files_.exchange(false)) {
    listen_again();
  }
}

void Endpoint::say_goodbye() {
  stop_listening();
  for (const auto& connection : all()) {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    connection->say_goodbye();
  }
}

std::size_t Endpoint::unfinished() {
  std::size_t count = intake_.unfinished();
  for (const auto& connection : all()) {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    count += !connection->closed() && connection->has_unsent() ? 1 : 0;
  }
  return count;
}

void Endpoint::stop_listening() {
  if (stopping_.exchange(true) || listener_ < 0) {
    return;
  }
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, listener_, nullptr);
  ::shutdown(listener_, SHUT_RDWR);
  if (is_unix_) {
    ::unlink(path_.c_str());
  }
}

void Endpoint::stop() {
  stop_listening();
  if (leaving_.exchange(true)) {
    return;
  }
  for (const auto& connection : all()) {
    const std::lock_guard<std::mutex> locked(connection->mutex);
    drop(connection);
  }
  // All threads, now and later.
  const std::uint64_t many = 1U << 30;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &many, sizeof many);
}

EndpointCounts Endpoint::counts() const {
  EndpointCounts counts;
  for (std::size_t i = 0; i < kRefusals; ++i) {
    counts.refused[i] = refused_[i].load(std::memory_order_relaxed);
  }
  const std::lock_guard<std::mutex> locked(mutex_);
  counts.connections = connections_.size();
  return counts;
}

int Endpoint::method_of(const std::string& path, std::string* text) const {
  const auto found = methods_.find(path);
  if (found == methods_.end()) {
    *text = options_.unknown_method;
    return -1;
  }
  return static_cast<int>(found->second);
}

std::optional<Answer> Endpoint::look(const std::string& path, const std::shared_ptr<Call>& call,
                                     const std::shared_ptr<Connection>& connection) {
  call->connection = connection;
  std::optional<Answer> refusal = worker_->look(path, call);
  call->connection = nullptr;  // It keeps the call, as long as that is not worked on.
  return refusal;
}

std::uint64_t Endpoint::may_arrive(const std::shared_ptr<Connection>& connection, std::int32_t stream) {
  return intake_.begin(connection->peer(), connection, stream, steady_ns());
}

Answer Endpoint::refusal(Refusal why) {
  refused_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  return worker_->refusal(why);
}

std::vector<std::shared_ptr<Connection>> Endpoint::all() {
  const std::lock_guard<std::mutex> locked(mutex_);
  std::vector<std::shared_ptr<Connection>> found;
  found.reserve(connections_.size());
  for (const auto& [socket, connection] : connections_) {
    found.push_back(connection);
  }
  return found;
}

}  // namespace rowbank::wire
