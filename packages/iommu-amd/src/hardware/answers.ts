import { Access, Completion, MemoryType, type Translation } from "@iommu-lab/pci-bus";

// The module's own: an imported constant is looked up at every use, which hits and walks feel.
const { Successful } = Completion;
const { WriteBack } = MemoryType;
const EVERYTHING = Access.Read | Access.Write | Access.Execute;

/** All of a translation but its page, which as an argument, past int32, might be allocated. @param allowed what the device table entry allows at most */
export const answer = (out: Translation, shift: number, rights: Access, allowed: Access, snoop: boolean): void => {
  out.pageShift = shift;
  out.permissions = rights & allowed;
  out.global = false;
  out.memoryType = WriteBack;
  out.snoop = snoop;
  out.fault = 0;
  out.recorded = false;
  out.completion = Successful;
};

/** The address is the host-physical address. @param allowed what the device table entry allows: everything where it is not asked */
export const passUntranslated = (out: Translation, page: number, allowed = EVERYTHING, snoop = false): void => {
  out.page = page;
  answer(out, 12, EVERYTHING, allowed, snoop);
};

/** The answer to a translation request that a page fault ends: the page has no rights. AMD-Vi §2.5.3. */
export const answerWithoutRights = (out: Translation, page: number): void => {
  out.page = page;
  answer(out, 12, 0, 0, false);
};

/** No translation. @param fault an event's code, or 0; @param recorded whether it went to the log */
export const refuse = (out: Translation, completion: Completion, fault: number, recorded: boolean): void => {
  out.page = 0;
  out.pageShift = 12;
  out.permissions = 0;
  out.global = false;
  out.memoryType = MemoryType.Uncacheable;
  out.snoop = false;
  out.fault = fault;
  out.recorded = recorded;
  out.completion = completion;
};
