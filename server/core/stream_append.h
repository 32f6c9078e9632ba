// Appends groups of records to a stream of Redis over a connected socket, without the interpreter.
//
// Only what goes as expected is done here: connecting, encryption, errors and other tries are for whoever lent the
// socket, and so is what an answer means that is not the id of an entry.
#pragma once

#include <cstdint>
#include <string>

#include "journal_queue.h"

namespace rowbank {

// How an exchange went.
enum class Appended : std::uint8_t {
  kYes,
  kRefused,  // Redis answered something else, so it was not.
  kUnknown,  // The connection broke, or was silent for too long.
};

// For one thread.
class StreamAppender {
 public:
  // `socket` stays its owner's, who uses it for nothing else meanwhile. `timeout_s`: of silence.
  StreamAppender(int socket, std::string key, double timeout_s);

  Appended append(const JournalGroup& group);

 private:
  bool send(const JournalGroup& group);
  Appended receive();
  bool wait_for(short events);

  const int socket_;
  const std::string key_;
  const int timeout_ms_;
};

}  // namespace rowbank
