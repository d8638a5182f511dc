/** What a source is bound to, as its cache (context, PASID, device table entry) has it. */
export interface CachedSource {
  readonly requester: number;
  /** -1 without one, and where entries of sources are for all their PASIDs. */
  readonly pasid: number;
  /** Undefined where the entry names none: a context entry of VT-d's scalable mode leads to entries of PASIDs, which do. */
  readonly domain: number | undefined;
}

/** A translation in the IOTLB. */
export interface CachedTranslationEntry {
  readonly domain: number;
  /** -1 for translations of no PASID. */
  readonly pasid: number;
  /** First 4 KiB page of what it covers, and what that becomes. */
  readonly page: number;
  readonly hostPage: number;
  /** log2 of the bytes that it covers. */
  readonly pageShift: number;
  /** `Access` bits for user requests. */
  readonly rights: number;
}

/** A table that the paging-structure caches know. */
export interface CachedTable {
  readonly domain: number;
  readonly pasid: number;
  /** Level of the table. */
  readonly level: number;
  /** First page of what the table translates. */
  readonly page: number;
  /** Page number of the table. */
  readonly table: number;
}

/** Everything that can be found in the caches now: for people who look, not for the path of a request. VT-d §6.2, AMD-Vi §2.4. */
export interface CacheContents {
  readonly sources: readonly CachedSource[];
  readonly translations: readonly CachedTranslationEntry[];
  readonly tables: readonly CachedTable[];
}
