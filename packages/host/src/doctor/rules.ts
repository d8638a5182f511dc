import { BAR_RULES } from "./bar-rules.ts";
import { CONSOLE_RULES, DISPLAY_RULES } from "./display-rules.ts";
import { DRIVER_RULES, MODULE_RULES } from "./driver-rules.ts";
import { GROUP_RULES } from "./group-rules.ts";
import { GUEST_DEVICE_RULES, GUEST_RULES, MEMORY_DEVICE_RULES, MEMORY_RULES } from "./guest-rules.ts";
import { INTERRUPT_RULES } from "./interrupt-rules.ts";
import { ISOLATION_RULES } from "./isolation-rules.ts";
import { MACHINE_RULES } from "./machine-rules.ts";
import { PRESENCE_RULES } from "./presence-rules.ts";
import { RELAXED_RULES, RESERVED_MEMORY_RULES } from "./reserved-memory-rules.ts";
import { POWER_RULES, RESET_RULES } from "./reset-rules.ts";
import { ROM_RULES } from "./rom-rules.ts";
import type { DeviceRule, HostRule, Rule } from "./rule.ts";

/** Rules about the machine, in the order of their ids. */
export const HOST_RULES: readonly HostRule[] = [...PRESENCE_RULES, ...MACHINE_RULES, ...ISOLATION_RULES, ...INTERRUPT_RULES, ...RELAXED_RULES, ...CONSOLE_RULES, ...MODULE_RULES, ...MEMORY_RULES, ...GUEST_RULES];

/** Rules about a function to be assigned. */
export const DEVICE_RULES: readonly DeviceRule[] = [...GROUP_RULES, ...RESERVED_MEMORY_RULES, ...RESET_RULES, ...POWER_RULES, ...BAR_RULES, ...ROM_RULES, ...DISPLAY_RULES, ...DRIVER_RULES, ...MEMORY_DEVICE_RULES, ...GUEST_DEVICE_RULES];

/** Every rule. */
export const RULES: readonly Rule[] = [...HOST_RULES, ...DEVICE_RULES];
