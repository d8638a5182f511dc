export type { VtdDriver } from "./driver/index.ts";
export type { RemappingUnit } from "./interfaces.ts";
