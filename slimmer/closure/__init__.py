"""The closure: which paths stay, each with its reasons, grown from recordings by rules until nothing changes.

`model` is what rules see and say, `grow` the worklist, and each other module one
family of rules. Rules read the Root through the View and never run the target.
"""
