import { describe, expect, it } from 'vitest';
import { apiWorld } from '../testing/api-world.ts';
import { fetchHandler } from './fetch.ts';

const base = 'http://127.0.0.1:36789';
const json = { 'content-type': 'application/json' };

describe('fetchHandler', () => {
  it('passes path, query, headers and body on', async () => {
    const { api, clock } = await apiWorld({ keys: [{ name: 'shop', key: 'a-long-enough-key' }] });
    const fetch = fetchHandler(api);
    const headers = { ...json, authorization: 'Bearer a-long-enough-key' };
    const body = JSON.stringify({ gid: 't-1', pattern: 'tcc', name: 'transfer' });
    const begun = await clock.until(
      fetch(new Request(`${base}/v1/transactions`, { method: 'POST', headers, body })),
    );
    expect([begun.status, begun.headers.get('location')]).toEqual([202, '/v1/transactions/t-1']);
    const listed = await clock.until(
      fetch(new Request(`${base}/v1/transactions?gidContains=t-`, { headers })),
    );
    expect(await listed.json()).toMatchObject({ items: [{ gid: 't-1' }] });
    expect((await fetch(new Request(`${base}/v1/transactions`))).status).toBe(401);
  });

  it('reads no more of a body than it may', async () => {
    const { api } = await apiWorld();
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(1_024));
      },
    });
    const request = new Request(`${base}/v1/transactions`, {
      method: 'POST',
      headers: json,
      body,
      duplex: 'half',
    });
    const response = await fetchHandler(api, { bodyBytesMax: 4_096 })(request);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      413,
      'application/problem+json',
    ]);
    expect(pulled).toBeLessThan(10);
  });

  it('streams events until the reader goes', async () => {
    const { api, hub } = await apiWorld();
    const response = await fetchHandler(api)(new Request(`${base}/v1/events`));
    const reader = response.body?.getReader();
    const first: { readonly value?: Uint8Array | undefined } | undefined = await reader?.read();
    expect(new TextDecoder().decode(first?.value)).toContain('retry:');
    expect(hub.subscribers).toBe(1);
    await reader?.cancel();
    expect(hub.subscribers).toBe(0);
  });
});
