"""Raw data to rows: which datasets a source has, which of them are wanted, and their rows in order.

A source is a catalogue of datasets (`mmeb-v2`, `mmeb-train`, `mix`, ...) or takes what it is pointed at
(`sgg`, `beir`, `files`, `table`). Readers know the raw formats; what holds for all is here: of each dataset
the queries come first, then the candidates; a sample or limit narrows the queries, and with them the
candidates of tasks whose queries bring their own pools, never those of tasks that rank everything.
"""
