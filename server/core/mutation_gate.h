// Holds mutations back for a moment; see ps/durability/gate.py.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "clock.h"

namespace rowbank {

// Many are inside at once while it is open. Thread-safe.
class MutationGate {
 public:
  // Waits while it is closed.
  void enter() {
    std::unique_lock<std::mutex> locked(mutex_);
    changed_.wait(locked, [&] { return !closed_; });
    ++inside_;
  }
  // False: it is closed.
  bool try_enter() {
    const std::lock_guard<std::mutex> locked(mutex_);
    return enter_if(!closed_);
  }
  // Of those who leave nothing for followers: false unless somebody inside has seen that nobody follows, and it was not
  // closed since.
  bool try_enter_unfollowed() {
    const std::lock_guard<std::mutex> locked(mutex_);
    return enter_if(!closed_ && unfollowed_);
  }
  // REQUIRES: the caller is inside, and nobody can begin to follow without having closed the gate.
  void note_unfollowed() {
    const std::lock_guard<std::mutex> locked(mutex_);
    unfollowed_ = true;
  }
  void leave() {
    const std::lock_guard<std::mutex> locked(mutex_);
    if (--inside_ == 0) {
      changed_.notify_all();
    }
  }
  // Lets nobody in any more and waits until nobody is inside; false: that took too long, and it is open. A second one
  // waits until the first opened it.
  bool close(double timeout_s) {
    const auto deadline = deadline_in(timeout_s);
    std::unique_lock<std::mutex> locked(mutex_);
    if (!changed_.wait_until(locked, deadline, [&] { return !closed_; })) {
      return false;
    }
    closed_ = true;
    unfollowed_ = false;
    if (changed_.wait_until(locked, deadline, [&] { return inside_ == 0; })) {
      return true;
    }
    closed_ = false;
    changed_.notify_all();
    return false;
  }
  // False: it was open.
  bool open() {
    const std::lock_guard<std::mutex> locked(mutex_);
    const bool was_closed = closed_;
    closed_ = false;
    changed_.notify_all();
    return was_closed;
  }

 private:
  bool enter_if(bool may) {
    inside_ += may ? 1 : 0;
    return may;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t inside_ = 0;
  bool closed_ = false;
  bool unfollowed_ = false;
};

}  // namespace rowbank
