export type { AmdDriver, AmdIommu } from "./interfaces.ts";
