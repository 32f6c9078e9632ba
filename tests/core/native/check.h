// A small test harness: TEST(suite, name) { CHECK(...); CHECK_EQ(a, b); CHECK_THROWS(expression, "part of message"); }
#pragma once

#include <cstdlib>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace rowbank::test {

struct Test {
  std::string suite;
  std::string name;
  std::function<void()> body;
};

inline std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* suite, const char* name, std::function<void()> body) {
    all_tests().push_back({suite, name, std::move(body)});
  }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void check_equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (!(a == b)) {
    std::cerr << text << ": " << +a << " != " << +b << "\n";
    fail(file, line, text);
  }
}

}  // namespace rowbank::test

#define TEST(suite, name)                                                                                         \
  static void test_##suite##_##name();                                                                            \
  static const ::rowbank::test::Registration registration_##suite##_##name(#suite, #name, test_##suite##_##name); \
  static void test_##suite##_##name()

#define CHECK(condition) \
  if (!(condition)) ::rowbank::test::fail(__FILE__, __LINE__, #condition)

#define CHECK_EQ(a, b) ::rowbank::test::check_equal((a), (b), #a " == " #b, __FILE__, __LINE__)

#define CHECK_THROWS(expression, part)                                                          \
  do {                                                                                          \
    bool thrown = false;                                                                        \
    try {                                                                                       \
      (void)(expression);                                                                       \
    } catch (const std::invalid_argument& error) {                                              \
      thrown = true;                                                                            \
      if (std::string(error.what()).find(part) == std::string::npos) {                          \
        ::rowbank::test::fail(__FILE__, __LINE__, std::string("message was: ") + error.what()); \
      }                                                                                         \
    }                                                                                           \
    if (!thrown) ::rowbank::test::fail(__FILE__, __LINE__, #expression " did not throw");       \
  } while (false)
