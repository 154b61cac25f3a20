"""The quickstart benchmark: twelve small real tasks in the raw layouts of MMEB-train and MMEB-V2.

`make_data.py` writes the data, `honest_split.py` decides what is learned and what is asked,
`hard_negatives.py` adds negatives to two tasks, `tasks.json` is the catalogue of the tasks, `licences/`
holds the licence texts and says what comes from where.
"""
