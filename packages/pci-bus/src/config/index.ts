export type { BarDescription, BarState } from "./bar.ts";
export { FunctionConfig, type ConfigWriteListener, type FunctionDescription } from "./function-config.ts";
export { BIST, BRIDGE_CONTROL, COMMAND, HEADER_TYPE, IO_BAR, MEMORY_BAR, ROM_BAR, SECONDARY_STATUS, STATUS } from "./header.ts";
export type { BridgeWindows } from "./header-image.ts";
export { CARDBUS_CAPABILITIES_POINTER, CONVENTIONAL_SIZE, EXPRESS_SIZE, FIRST_CAPABILITY, FIRST_EXTENDED, HeaderOffset } from "./offsets.ts";
export { register, type ConfigRegister, type Fields, type RegisterAccess, type RegisterMap, type RegisterValues } from "./register.ts";
export { startsFunctionReset } from "./reset-request.ts";
