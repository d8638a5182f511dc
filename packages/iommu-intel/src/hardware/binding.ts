import { NO_PASID } from "@iommu-lab/pci-bus";
import type { FirstStage } from "./first-stage.ts";

/** How the requests of one source are translated. */
export const BindingKind = { SecondStage: 1, FirstStage: 2, Nested: 3, PassThrough: 4 } as const;

/**
 * What a requester (legacy mode), or a requester and a PASID (scalable mode), is bound to: a context entry or PASID-table
 * entry in the form translation uses. Reused: never keep one across an invalidation.
 */
export class Binding implements FirstStage {
  /** May be used from a cache. */
  valid = false;
  requester = 0;
  /** The PASID whose entry this is; `NO_PASID` in legacy mode. */
  pasid = NO_PASID;
  domain = 0;
  kind = 0;
  /** FPD of this entry or one above it: faults from here on are not recorded. VT-d §7.1.3. */
  silenced = false;
  /** A fault that was cached in place of an entry (caching mode), 0 for none. */
  fault = 0;
  /** Translation and translated requests are allowed (legacy mode; scalable mode asks the context entry). */
  deviceTlb = false;
  /** PASID part of the tag of cached translations. */
  tag = -1;
  /** Current number of (domain, tag) and the epoch it was looked up in. */
  space = 0;
  epoch = -1;
  /** Same for (domain, no PASID), which nested walks use for the second stage alone. */
  secondStageSpace = 0;
  firstStageSpace = 0;
  /** Supervisor requests are allowed (scalable mode; legacy mode does not ask). */
  supervisor = false;
  /** Execute requests are allowed (scalable mode). */
  execute = false;
  secondStageTable = 0;
  secondStageLevels = 4;
  secondStageFlags = false;
  secondStageSnoops = false;
  firstStageTable = 0;
  firstStageLevels = 4;
  nested = false;
  writeProtect = false;
  noExecute = false;
  extendedAccessed = false;
  firstStageSnoops = false;
  /** Accesses snoop, whatever the leaf says (PGSNP). */
  snoops = false;
  /** Everything is uncacheable (CD). */
  cacheDisable = false;
  /** EMT and IPAT of second-stage leaves count. */
  extendedTypes = false;
  pat = 0;
}

/** A scalable-mode context entry in the form lookups use. */
export class ScalableContext {
  valid = false;
  requester = 0;
  fault = 0;
  silenced = false;
  deviceTlb = false;
  pasidEnabled = false;
  pageRequests = false;
  directory = 0;
  /** PASIDs the directory covers. */
  pasids = 0;
  ridPasid = 0;
  ridPrivileged = false;
}
