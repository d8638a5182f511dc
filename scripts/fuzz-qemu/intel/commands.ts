import { readRegister, setRegister } from "../pages.ts";
import type { Action } from "../program.ts";
import type { Flush } from "../transfers.ts";

/** GCMD with one change, and a look at GSTS. VT-d §11.4.4 "Global Command Register". */
export const command = (value: bigint): Action[] => [setRegister(0x18, 4, value), readRegister(0x1c, 4)];

/** Every cache, by registers, in legacy mode without a queue. VT-d §6.5.1 "Register-based Invalidation". */
export const flushByRegister: Flush = () => [setRegister(0x28, 8, 0xa000_0000_0000_0000n), setRegister(0xf8, 8, 0x9000_0000_0000_0000n)];
