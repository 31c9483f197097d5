"""What can be wrong with input and machine: each is told in words, and once it is mended nothing has suffered."""
from __future__ import annotations
import time
def test_t(tiny, finished):
    t=time.time(); print(tiny.run()); print(time.time()-t); tiny.assert_same_store(tiny.store, finished.store); print(tiny.run().out)
    tiny.change("compute", block=32)
    tiny.store=tiny.folder/"o2.zarr"
    t=time.time(); print(tiny.run().code); print(time.time()-t); 
    tiny.assert_same_store(tiny.store, finished.store)
