/** Every limit of the API has a name, a unit and a default here. */
import { payloadCharactersMax } from '../wire/requests.ts';
import { jsonDepthMax } from '../wire/json.ts';

export interface ApiLimits {
  /** Bytes of one body; the server must not read more than this either. Default 1 MiB. */
  readonly bodyBytesMax: number;
  /** Characters of JSON of one payload. Default 262,144. */
  readonly payloadCharactersMax: number;
  /** Objects and arrays within each other in the body of one transaction. Default 16. */
  readonly depthMax: number;
}

/** The defaults. */
export const apiLimits: ApiLimits = {
  bodyBytesMax: 1_048_576,
  payloadCharactersMax,
  depthMax: jsonDepthMax,
};
