// The interpreter's lock, for threads that may find that there is no interpreter any more.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace rowbank::wire {

// Waits for the end of the process. Python lets a thread that asks for its lock while it shuts down exit at once, which
// unwinds the stack, and ends the process with an error where a destructor is on it.
[[noreturn]] inline void wait_for_the_end() {
  while (true) {
    ::pause();
  }
}

// Has the lock given up while it lives. REQUIRES: the thread has it.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      wait_for_the_end();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Has it taken while it lives. REQUIRES: an `Unlocked` of the thread lives.
class Locked {
 public:
  Locked() {
    try {
      state_ = PyGILState_Ensure();
    } catch (...) {
      wait_for_the_end();
    }
  }
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  PyGILState_STATE state_;
};

}  // namespace rowbank::wire
