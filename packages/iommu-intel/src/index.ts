export type { RemappingUnit, VtdDriver } from "./interfaces.ts";
