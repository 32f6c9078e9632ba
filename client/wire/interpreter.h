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

// Takes the lock with the state that the thread had. It is asked for by the state, not by PyGILState_Ensure: while the
// interpreter ends, it has freed the states of other threads, and a new one cannot be made any more; the state itself
// is only compared with the one of the thread that ends the interpreter before it is used.
inline void take_back(PyThreadState* state) {
  try {
    PyEval_RestoreThread(state);
  } catch (...) {
    wait_for_the_end();
  }
}

// Has the lock given up while it lives. REQUIRES: the thread has it.
class Unlocked {
 public:
  Unlocked() : outer_(innermost()), state_(PyEval_SaveThread()) { innermost() = this; }
  ~Unlocked() {
    take_back(state_);
    innermost() = outer_;
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  friend class Locked;

  // The one that the thread is in, null outside.
  static Unlocked*& innermost() {
    thread_local Unlocked* unlocked = nullptr;
    return unlocked;
  }

  Unlocked* outer_;
  PyThreadState* state_;
};

// Has it taken while it lives. REQUIRES: an `Unlocked` of the thread lives, and is the innermost of both kinds.
class Locked {
 public:
  Locked() : unlocked_(*Unlocked::innermost()) { take_back(unlocked_.state_); }
  ~Locked() { unlocked_.state_ = PyEval_SaveThread(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  Unlocked& unlocked_;
};

}  // namespace rowbank::wire
