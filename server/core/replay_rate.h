// How long a replay of the journal would take, guessed from how long its mutations took the first time.
//
// What counts is processor time: a replay is alone, and waits for no other's locks and turns. Beside others the caches
// are colder, so that the guess is rather too long.
#pragma once

#include <cstdint>

namespace rowbank {

// Callers hold one lock.
class ReplayRate {
 public:
  // A mutation whose record has `size` bytes was applied in `seconds` of processor time.
  void learn(std::uint64_t size, double seconds) {
    bytes_ = bytes_ * kKept + static_cast<double>(size);
    seconds_ = seconds_ * kKept + seconds;
  }
  // Of a replay of so many records, which have `size` bytes together.
  double seconds(std::uint64_t records, std::uint64_t size) const {
    return static_cast<double>(records) * kSPerRecord + static_cast<double>(size) * (kReadSPerByte + seconds_ / bytes_);
  }

 private:
  static constexpr double kReadSPerByte = 1 / 400e6;   // Redis, the socket, checksums. Less than any machine took.
  static constexpr double kSPerRecord = 200e-6;        // Reading its head, finding its tables; the interpreter's part.
  static constexpr double kFirstSPerByte = 1 / 400e6;  // Before anything was learnt.
  static constexpr double kKept = 1 - 1.0 / 256;       // How much of what was learnt a mutation leaves.

  double bytes_ = 1e6;  // So much is believed of the first guess.
  double seconds_ = 1e6 * kFirstSPerByte;
};

}  // namespace rowbank
