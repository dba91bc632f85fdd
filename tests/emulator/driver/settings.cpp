#include "settings.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator {

static const char prefix[] = "CRNN_EMULATOR_";

void say(const std::string &line) { fprintf(stderr, "emulated CUDA: %s\n", line.c_str()); }

void refuse(const std::string &line) {
  say(line);
  std::_Exit(2);
}

std::string without_version(const std::string &entry) {
  size_t at = entry.rfind("_v");
  if (at == std::string::npos || at + 2 == entry.size()) return entry;
  bool digits = entry.find_first_not_of("0123456789", at + 2) == std::string::npos;
  return digits ? entry.substr(0, at) : entry;
}

static unsigned long number(const std::string &name, const std::string &text, unsigned long low, unsigned long high) {
  unsigned long value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    refuse(prefix + name + "=" + text + ": a number from " + std::to_string(low) + " to " + std::to_string(high) +
           " was expected");
  return value;
}

static InjectedFault parse_fault(const std::string &text) {
  std::string parts[4];
  size_t count = 0;
  for (size_t at = 0; at <= text.size() && count < 4; count++) {
    size_t end = count < 3 ? std::min(text.find(':', at), text.size()) : text.size();
    parts[count] = text.substr(at, end - at);
    at = end + 1;
  }
  InjectedFault fault;
  fault.entry = without_version(parts[0]);
  fault.code = parts[1];
  if (count < 2 || fault.entry.empty() || fault.code.empty() || (count == 4 && parts[3] != "async"))
    refuse(std::string(prefix) + "FAULT=" + text + ": ENTRY:CODE[:NTH[:async]] was expected");
  if (count > 2) fault.nth = number("FAULT", parts[2], 1, 1ul << 32);
  fault.asynchronous = count == 4;
  if (fault.asynchronous && fault.entry != "cuLaunchKernel" && fault.entry != "cuGraphLaunch")
    refuse(std::string(prefix) + "FAULT=" + text + ": only cuLaunchKernel and cuGraphLaunch can fail later");
  return fault;
}

// MODE or MODE*TIMES.
static ptx::Errors parse_errors(const std::string &text) {
  ptx::Errors errors;
  size_t at = text.find('*');
  std::string mode = text.substr(0, at);
  if (at != std::string::npos) errors.times = number("ERROR", text.substr(at + 1), 1, 1 << 20);
  if (mode == "up") {
    errors.kind = ptx::Errors::up;
  } else if (mode == "down") {
    errors.kind = ptx::Errors::down;
  } else if (mode.rfind("random:", 0) == 0) {
    errors.kind = ptx::Errors::random;
    errors.seed = number("ERROR", mode.substr(7), 0, 0xffffffff);
  } else {
    refuse(std::string(prefix) + "ERROR=" + text + ": up, down or random:SEED was expected");
  }
  return errors;
}

// Read as by a driver: numbers of devices, up to the first invalid one.
static std::vector<unsigned> visible_devices(unsigned devices) {
  std::vector<unsigned> visible;
  const char *list = getenv("CUDA_VISIBLE_DEVICES");
  if (!list) {
    for (unsigned i = 0; i < devices; i++) visible.push_back(i);
    return visible;
  }
  for (char *end; *list; list = *end == ',' ? end + 1 : end) {
    unsigned long number = strtoul(list, &end, 10);
    if (end == list || number >= devices || (*end && *end != ',')) break;
    visible.push_back(number);
  }
  return visible;
}

std::array<unsigned char, 16> device_uuid(unsigned device) {
  return {'e', 'm', 'u', 'l', 'a', 't', 'e', 'd', ' ', 'G', 'P', 'U', 0, 0, 0, static_cast<unsigned char>(device)};
}

// The processors that this process may use, which may be fewer than the machine has.
static unsigned processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// Kinds of cards, separated by commas.
static std::vector<const Card *> parse_cards(const std::string &text) {
  std::vector<const Card *> cards;
  for (size_t at = 0, end; at <= text.size(); at = end + 1) {
    end = std::min(text.find(',', at), text.size());
    cards.push_back(find_card(number("CARD", text.substr(at, end - at), 0, 1000)));
    if (!cards.back()) refuse(std::string(prefix) + "CARD=" + text + ": there are " + known_cards());
  }
  return cards;
}

static Settings read_settings() {
  Settings s;
  s.threads = processors();
  s.cards = {find_card(90)};
  std::optional<unsigned> devices;
  bool driver_given = false;
  for (char **variable = environ; *variable; variable++) {
    if (strncmp(*variable, prefix, sizeof prefix - 1) != 0) continue;
    std::string name = *variable + sizeof prefix - 1, value;
    size_t at = name.find('=');
    value = name.substr(at + 1);
    name.resize(at);
    if (value.empty()) continue;
    if (name == "CARD") {
      s.cards = parse_cards(value);
    } else if (name == "DRIVER") {
      s.driver = number(name, value, 1000, 99990);
      driver_given = true;
    } else if (name == "MEMORY") {
      s.memory = number(name, value, 1, 1ul << 40);
    } else if (name == "DEVICES") {
      devices = number(name, value, 0, 64);
    } else if (name == "THREADS") {
      s.threads = number(name, value, 1, 1024);
    } else if (name == "CHECK") {
      if (value != "races") refuse(prefix + name + "=" + value + ": races was expected");
      s.races = true;
    } else if (name == "ORDER") {
      s.order = number(name, value, 0, 0xffffffff);
    } else if (name == "COUNT") {
      s.count_file = value;
    } else if (name == "CALLS") {
      s.calls_file = value;
    } else if (name == "CONTEXTS") {
      s.contexts_file = value;
    } else if (name == "ERROR") {
      s.errors = parse_errors(value);
    } else if (name == "FAULT") {
      s.fault = parse_fault(value);
    } else if (name == "LOST_AFTER") {
      s.lost_after = number(name, value, 0, 1ul << 62);
    } else {
      refuse(prefix + name + ": there is no such setting");
    }
  }
  // Further devices are of the last kind.
  s.cards.resize(devices.value_or(s.cards.size()), s.cards.back());
  for (const Card *card : s.cards)
    if (!driver_given) s.driver = std::max(s.driver, card->driver);
  // A driver does not see a card that is newer than the driver.
  std::erase_if(s.cards, [&](const Card *card) { return card->driver > s.driver; });
  s.visible = visible_devices(s.cards.size());
  return s;
}

const Settings &settings() {
  static const Settings &read = *new Settings(read_settings());
  return read;
}

}  // namespace emulator
