// Tests of the PTX interpreter: every instruction against its definition, kernels with mistakes, and
// a check that every instruction of the kernels in use is tested.
// Usage: ptx_test [folder of the kernels…].
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "test/conversions.h"
#include "test/errors.h"
#include "test/faults.h"
#include "test/floats.h"
#include "test/integers.h"
#include "test/mbarrier.h"
#include "test/memory.h"
#include "test/warp.h"

// The kernels in use must be understood, and each of their instructions must have been tested.
static void kernels_in_use(const std::string &folder) {
  std::map<std::string, std::string> missing;
  size_t files = 0;
  for (auto &entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".ptx") continue;
    files++;
    std::string name = entry.path().filename();
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    try {
      ptx::parse(text.str());
    } catch (const ptx::ParseError &e) {
      test::fail(name + ": " + e.what());
    }
    static const std::regex instruction(R"(^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)(?:\s+[^:]*)?;.*$)");
    std::string line;
    for (unsigned number = 1; std::getline(text, line); number++) {
      line = line.substr(0, line.find("//"));
      std::smatch m;
      if (std::regex_match(line, m, instruction) && !test::tested.contains(m[1]))
        missing.emplace(m[1], name + ":" + std::to_string(number));
    }
  }
  for (auto &[opcode, where] : missing) test::fail(opcode + ": used in " + where + ", but not tested");
  std::printf("%zu files of kernels\n", files);
}

int main(int count, char **arguments) {
  test::integers();
  test::float_arithmetic();
  test::float_others();
  test::conversions();
  test::halves();
  test::loads_and_stores();
  test::parameters();
  test::atomics();
  test::asynchronous_copies();
  test::warps();
  test::matrices();
  test::approximate_errors();
  test::matrix_errors();
  test::branches();
  test::barriers();
  test::clusters();
  test::mbarrier_values();
  test::mbarrier_clusters();
  test::mbarrier_faults();
  test::faults();
  test::refusals();
  test::counts();
  std::vector<std::string> folders(arguments + 1, arguments + count);
  if (folders.empty()) folders = {"../../kernels/ptx", "../probe/ptx"};
  for (auto &folder : folders) kernels_in_use(folder);
  if (test::failures) std::fprintf(stderr, "%d failures\n", test::failures);
  else std::printf("%zu instructions tested\n", test::tested.size());
  return test::failures != 0;
}
