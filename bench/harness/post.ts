import { Pool } from 'undici';

/** Posts JSON to one origin as the reference does; anything but 200 throws. */
export function poster(origin: string): (path: string, payload: unknown) => Promise<unknown> {
  const pool = new Pool(origin, { connections: 256, pipelining: 1 });
  const headers = { 'content-type': 'application/json' };
  return async (path, payload) => {
    const { statusCode, body } = await pool.request({
      path,
      method: 'POST',
      headers,
      body: JSON.stringify(payload),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`status ${statusCode} from ${path}`);
    const answer: unknown = JSON.parse(text);
    return answer;
  };
}
