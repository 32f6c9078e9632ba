// Messages of protobuf, read and written field by field. Only what is written plainly is read; whoever finds anything
// else leaves the message to those who know all of protobuf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace rowbank::wire {

class FieldReader {
 public:
  FieldReader(const char* data, std::size_t size) : at_(data), end_(data + size) {}

  // Moves to the next field; false: there is none, or what there is is not plain (then `odd`).
  bool next() {
    if (odd_ || at_ == end_) {
      return false;
    }
    std::uint64_t tag = 0;
    if (!varint(&tag, kLongestTag) || tag >> 3 == 0 || tag > 0xFFFFFFFFU) {
      return fail();
    }
    number_ = static_cast<std::uint32_t>(tag >> 3);
    kind_ = static_cast<std::uint32_t>(tag & 7);
    if (kind_ == kVarint) {
      return varint(&value_, kLongest) || fail();
    }
    if (kind_ == kFixed32) {
      if (end_ - at_ < 4) {
        return fail();
      }
      std::memcpy(&fixed_, at_, 4);
      at_ += 4;
      return true;
    }
    std::uint64_t length = 0;
    if (kind_ != kBytes || !varint(&length, kLongestTag) || length > static_cast<std::uint64_t>(end_ - at_)) {
      return fail();
    }
    bytes_ = {at_, static_cast<std::size_t>(length)};
    at_ += length;
    return true;
  }
  bool odd() const { return odd_; }
  std::uint32_t number() const { return number_; }
  bool is_bytes() const { return kind_ == kBytes; }
  bool is_varint() const { return kind_ == kVarint; }
  bool is_float() const { return kind_ == kFixed32; }
  std::uint64_t value() const { return value_; }
  std::string_view bytes() const { return bytes_; }
  // Of a field of four bytes.
  float four_as_float() const {
    float value = 0;
    std::memcpy(&value, &fixed_, 4);
    return value;
  }

 private:
  static constexpr std::uint32_t kVarint = 0;
  static constexpr std::uint32_t kBytes = 2;
  static constexpr std::uint32_t kFixed32 = 5;
  static constexpr int kLongest = 10;    // Bytes of a number of 64 bits.
  static constexpr int kLongestTag = 5;  // Of a tag or a length; protobuf refuses longer ones, whatever their value.

  bool fail() {
    odd_ = true;
    return false;
  }
  // Of at most `longest` bytes.
  bool varint(std::uint64_t* value, int longest) {
    *value = 0;
    for (int i = 0; i < longest && at_ != end_; ++i) {
      const auto byte = static_cast<unsigned char>(*at_++);
      *value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        return i + 1 < kLongest || byte <= 1;
      }
    }
    return false;
  }

  const char* at_;
  const char* end_;
  bool odd_ = false;
  std::uint32_t number_ = 0;
  std::uint32_t kind_ = 0;
  std::uint64_t value_ = 0;
  std::uint32_t fixed_ = 0;
  std::string_view bytes_;
};

// Writes fields one after the other, or, without memory, counts the bytes that they would take.
class FieldWriter {
 public:
  explicit FieldWriter(char* data) : data_(data) {}

  std::size_t size() const { return size_; }
  // The start of a field of bytes whose length takes `length_bytes` at least, which protobuf allows.
  void header(std::uint32_t number, std::size_t length, std::size_t length_bytes = 1) {
    varint(number << 3 | 2, 1);
    varint(length, length_bytes);
  }
  void bytes(std::string_view bytes) {
    if (data_ != nullptr && !bytes.empty()) {
      std::memcpy(data_ + size_, bytes.data(), bytes.size());
    }
    size_ += bytes.size();
  }
  // As if so many bytes had been written.
  void skip(std::size_t bytes) { size_ += bytes; }
  // Room for a column, to be filled; null while bytes are counted.
  char* column(std::uint32_t number, std::size_t length) {
    if (length > 0) {
      header(number, length);
    }
    char* at = data_ == nullptr ? nullptr : data_ + size_;
    size_ += length;
    return at;
  }
  // The same at a multiple of 4. What moves it there is an empty occurrence of the later field `filler`: of a field
  // that occurs twice, the last one counts.
  char* aligned_column(std::uint32_t number, std::size_t length, std::uint32_t filler) {
    if (length > 0) {
      const std::size_t at = size_ + 1 + varint_bytes(length);
      std::size_t missing = (4 - at % 4) % 4;
      if (missing == 1) {
        missing += 4;  // A field has a tag and a length at least.
      }
      if (missing > 0) {
        header(filler, 0, missing - 1);
      }
    }
    return column(number, length);
  }

  static std::size_t varint_bytes(std::uint64_t value) {
    std::size_t bytes = 1;
    for (; value > 0x7F; value >>= 7) {
      ++bytes;
    }
    return bytes;
  }

 private:
  void varint(std::uint64_t value, std::size_t at_least) {
    std::size_t written = 0;
    while (value > 0x7F || written + 1 < at_least) {
      put(static_cast<char>((value & 0x7F) | 0x80));
      value >>= 7;
      ++written;
    }
    put(static_cast<char>(value));
  }
  void put(char byte) {
    if (data_ != nullptr) {
      data_[size_] = byte;
    }
    ++size_;
  }

  char* data_;
  std::size_t size_ = 0;
};

}  // namespace rowbank::wire
