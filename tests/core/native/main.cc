// rowbank_core_tests [suite]: runs one suite, or all. Exit status 1 when a test failed or the suite is unknown.
#include <exception>
#include <iostream>

#include "check.h"

int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  int run = 0;
  int failed = 0;
  for (const auto& test : rowbank::test::all_tests()) {
    if (!wanted.empty() && test.suite != wanted) {
      continue;
    }
    ++run;
    try {
      test.body();
      std::cout << "ok   " << test.suite << "." << test.name << std::endl;
    } catch (const std::exception& error) {
      ++failed;
      std::cout << "FAIL " << test.suite << "." << test.name << ": " << error.what() << std::endl;
    }
  }
  std::cout << run - failed << " of " << run << " tests passed" << std::endl;
  return failed == 0 && run > 0 ? 0 : 1;
}
